import { styleText } from "node:util";

export interface FormatOptions {
  /** Default false. */
  readonly colors?: boolean;
}

type Style = "gray" | "green" | "yellow" | "red" | "magenta";

const hidden = new Set(["time", "level", "service", "msg", "err", "pid", "hostname", "span_id"]);
const levelColors = new Map<string, Style>([
  ["debug", "gray"],
  ["info", "green"],
  ["warn", "yellow"],
  ["error", "red"],
  ["fatal", "magenta"],
]);

/**
 * One JSON log line as a person reads it: `12:03:04 registry  message key=value`, in local time; a warning or worse says
 * so, an error is followed by its stack, indented. A line that is no log record is returned as it is.
 */
export function formatLog(line: string, { colors = false }: FormatOptions = {}): string {
  const record = parseRecord(line);
  if (record === undefined) return line;
  const paint = (style: Style, text: string): string =>
    colors ? styleText(style, text, { validateStream: false }) : text;

  const level = textOf(record["level"], "info");
  const color = levelColors.get(level) ?? "green";
  const parts = [paint("gray", localTime(record["time"])), paint(color, textOf(record["service"]).padEnd(10))];
  if (level !== "info") parts.push(paint(color, level.toUpperCase()));
  parts.push(textOf(record["msg"]));
  for (const [name, value] of Object.entries(record)) {
    if (!hidden.has(name)) parts.push(paint("gray", `${name}=${formatValue(value)}`));
  }
  return parts.join(" ") + formatError(record["err"]);
}

function parseRecord(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const record: Record<string, unknown> = JSON.parse(line);
    return typeof record["msg"] === "string" ? record : undefined;
  } catch {
    return undefined;
  }
}

const textOf = (value: unknown, fallback = ""): string => (typeof value === "string" ? value : fallback);

function localTime(time: unknown): string {
  const date = new Date(textOf(time));
  return Number.isNaN(date.getTime()) ? "--:--:--" : date.toTimeString().slice(0, 8);
}

function formatValue(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}

function formatError(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  const { stack, message }: { stack?: unknown; message?: unknown } = error;
  return `\n${textOf(stack, textOf(message, JSON.stringify(error))).replace(/^/gm, "    ")}`;
}
