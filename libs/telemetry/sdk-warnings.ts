import type { DiagLogger } from "@opentelemetry/api";
import type { Logger } from "./logger.ts";

const kindsKept = 100;
const ignore = (): void => {};

/**
 * Where the SDK's own warnings go: into the log, each kind once. It repeats some for every span or export, and those
 * tell nothing new by their numbers.
 */
export function sdkWarnings(log: Logger): DiagLogger {
  const seen = new Set<string>();
  const warn = (message: string, ...more: unknown[]): void => {
    const kind = message.replace(/[\da-f]*\d[\da-f]*/gi, "#");
    if (seen.has(kind) || seen.size >= kindsKept) return;
    seen.add(kind);
    log.warn(`OpenTelemetry: ${message}`, more.length > 0 ? { details: more.map(String) } : undefined);
  };
  return { error: warn, warn, info: ignore, debug: ignore, verbose: ignore };
}
