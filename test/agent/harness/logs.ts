import { createLogger, type Logger } from "#libs/telemetry/logger.ts";

/** A logger that keeps its records. */
export function memoryLog(): { log: Logger; records: Record<string, unknown>[] } {
  const records: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void records.push(JSON.parse(line)) };
  return { log: createLogger({ service: "test-agent", level: "debug", destination }), records };
}
