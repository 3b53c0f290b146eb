import { type LogLevel, logLevels } from "#libs/telemetry/logger.ts";

/** One line of a child's output, understood. */
export interface ChildLine {
  readonly text: string;
  /** The record, if the line is one of our log. */
  readonly record: Readonly<Record<string, unknown>> | undefined;
  /** Of a line that is no record: error on standard error, else info. */
  readonly level: LogLevel;
}

export function readChildLine(text: string, stream: "stdout" | "stderr"): ChildLine {
  const record = parseRecord(text);
  if (record === undefined) return { text, record, level: stream === "stderr" ? "error" : "info" };
  return { text, record, level: logLevels.find((level) => level === record["level"]) ?? "info" };
}

export function isAtLeast(level: LogLevel, threshold: LogLevel): boolean {
  return logLevels.indexOf(level) >= logLevels.indexOf(threshold);
}

function parseRecord(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const record = JSON.parse(text) as Record<string, unknown>;
    return typeof record["msg"] === "string" ? record : undefined;
  } catch {
    return undefined;
  }
}
