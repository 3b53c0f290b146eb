import { type DestinationStream, pino, stdSerializers, stdTimeFunctions } from "pino";
import { maskSecrets } from "#libs/config/mask-secrets.ts";
import { spanIdOf, traceIdOf } from "./traceparent.ts";

export const logLevels = ["debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof logLevels)[number];

/** What a record carries beside its message. An Error, under whatever name, is written with its stack and cause. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  fatal(message: string, fields?: LogFields): void;
  /** The same logger, with `fields` on every record. */
  child(fields: LogFields): Logger;
  /** The same logger, with the trace and span id of `traceparent` on every record; unchanged if that is not valid. */
  withTrace(traceparent: string | undefined): Logger;
}

export interface LoggerOptions {
  readonly service: string;
  /** Default: LOG_LEVEL from the environment, else info. */
  readonly level?: LogLevel;
  /** Default: standard output, written synchronously so that the last words before an exit are not lost. */
  readonly destination?: DestinationStream;
}

/** A logger that writes one JSON object a line. Passwords in URLs and fields named like secrets are masked. */
export function createLogger({ service, level, destination }: LoggerOptions): Logger {
  const wanted = level ?? (process.env["LOG_LEVEL"]?.trim().toLowerCase() || "info");
  const known = logLevels.find((candidate) => candidate === wanted);
  const sink = pino(
    {
      level: known ?? "info",
      base: { service },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: maskLine },
    },
    destination ?? pino.destination({ fd: 1, sync: true }),
  );
  const logger = wrap(sink, {});
  if (known === undefined) logger.warn(`LOG_LEVEL=${wanted} is not one of ${logLevels.join(", ")}; info is used`);
  return logger;
}

type Sink = Record<LogLevel, (record: object) => void> & { isLevelEnabled(level: string): boolean };

function wrap(sink: Sink, bound: LogFields): Logger {
  const write =
    (level: LogLevel) =>
    (msg: string, fields?: LogFields): void => {
      if (!sink.isLevelEnabled(level)) return;
      // The message goes in as a field, so that it stands before the others in the line.
      sink[level]({ msg, ...bound, ...(fields && serializeErrors(fields)) });
    };
  const child = (fields: LogFields): Logger => wrap(sink, { ...bound, ...serializeErrors(fields) });
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    fatal: write("fatal"),
    child,
    withTrace(traceparent) {
      const traceId = traceIdOf(traceparent);
      return child(traceId === undefined ? {} : { trace_id: traceId, span_id: spanIdOf(traceparent) });
    },
  };
}

function serializeErrors(fields: LogFields): LogFields {
  const written: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    // msg, time, level and service are the record's own; a field of that name would be a second key in the object.
    const key = reserved.has(name) ? `${name}_` : name;
    if (value instanceof Error) written[key] = stdSerializers.errWithCause(value);
    else written[key] = typeof value === "bigint" ? value.toString() : value;
  }
  return written;
}

const reserved = new Set(["msg", "time", "level", "service"]);

const secretField = /"((?:[\w-]*[_-])?(?:password|passwd|secret|token|authorization|api_?key))":"(?:[^"\\]|\\.)*"/gi;

function maskLine(line: string): string {
  return maskSecrets(line).replace(secretField, '"$1":"****"');
}
