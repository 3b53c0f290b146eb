import { createLogger, type Logger } from "#libs/telemetry/logger.ts";
import { explainFailure } from "./explain-failure.ts";
import { openResources } from "./open-resources.ts";
import { whenToldToStop } from "./stop-requests.ts";

export interface RunMainOptions {
  /** How long stopping may take, in milliseconds. Default 4,000: Kubernetes kills after 30 s, the supervisor after 5. */
  readonly stopLimitMs?: number;
}

/**
 * The whole life of a service's process: starts it, waits for SIGTERM or SIGINT, disposes what was started, exits.
 *
 * Exit codes: 0 stopped in time; 1 stopped too late, or failed; 2 settings that cannot be used; 130 and 143 a second
 * signal, which does not wait. With LEGION_SUPERVISED=1 the end of standard input is a request to stop too, for then the
 * supervisor is gone, however it went.
 * @param name what the log calls the service.
 * @param start its signal aborts when the process is told to stop, even before the service has started.
 */
export async function runMain(
  name: string,
  start: (signal: AbortSignal) => Promise<AsyncDisposable>,
  { stopLimitMs = 4_000 }: RunMainOptions = {},
): Promise<never> {
  const log = createLogger({ service: name });
  const die = (error: unknown): never => exit(explainFailure(error, log));
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
  // A reader that has gone away must not turn the last words into an uncaught exception.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

  // Signal handlers alone do not keep a process alive, and a dispose that hangs may hold nothing that does.
  setInterval(() => {}, 2 ** 30);
  const stopping = new AbortController();
  const toldToStop = (async () => {
    const reason = await whenToldToStop(process.env["LEGION_SUPERVISED"] === "1", exit);
    log.info("stopping", { reason });
    stopping.abort();
    exitAfter(stopLimitMs, log);
  })();

  try {
    const service = await start(stopping.signal);
    await toldToStop;
    await service[Symbol.asyncDispose]();
  } catch (error) {
    // Being told to stop is the plain reason of a start that was given up.
    if (!(stopping.signal.aborted && isAbort(error, stopping.signal))) die(error);
  }
  log.info("stopped");
  return exit(0);
}

function exitAfter(limitMs: number, log: Logger): void {
  setTimeout(() => {
    log.error(`stopping took longer than ${limitMs} ms, exiting regardless`, { still_open: openResources() });
    exit(1);
  }, limitMs);
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}

function exit(code: number): never {
  process.exit(code);
}
