import { Code, type ConnectError } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { backoffDelayMs } from "#libs/clock/backoff.ts";
import type {
  AttemptProgress,
  ConnectResponse,
  Drain,
  Hello,
  Welcome,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { errorReason, errorRetryDelayMs } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { AgentError, fenced, refused } from "./agent-error.ts";
import { Connection, type ConnectionEvents } from "./connection.ts";
import { EventLoopWatch } from "./event-loop-watch.ts";
import type { Runner } from "./runner.ts";

export interface SessionOptions {
  /** `host:port` each; every attempt to connect goes to the next. */
  readonly targets: readonly string[];
  /** Without what only the session knows. */
  readonly hello: Hello;
  readonly runner: Runner;
  readonly log: Logger;
  readonly onConnected: (session: { readonly sessionId: string; readonly resumed: boolean }) => void;
  /** Something that `state` depends on has changed. */
  readonly onChange: () => void;
  /** The mesh asks this agent to end. */
  readonly onDrain: (reason: string) => void;
}

export type SessionState = "starting" | "active" | "suspended" | "stopped";

const backoff = { initialMs: 200, maxMs: 2_000 };
const defaultPulse = { heartbeatMs: 3_000, leaseMs: 10_000 };

// The same answer would come again, whichever replica gave it.
const lastingRefusals = new Set<Code>([Code.InvalidArgument, Code.PermissionDenied, Code.Unauthenticated]);

/** Keeps a session through broken streams: connects, resumes, moves to another Registry, gives up when it was replaced. */
export class Session implements ConnectionEvents {
  /** Resolves at the first welcome; rejects with an AgentError if there will never be one. */
  readonly begun: Promise<void>;
  /** Resolves when the session has ended in order; rejects with the AgentError that ended it. */
  readonly over: Promise<void>;
  readonly #options: SessionOptions;
  readonly #begun = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<void>();
  readonly #watch = new EventLoopWatch();
  #sessionId = "";
  #pulse = defaultPulse;
  /** Carries the session. */
  #current: Connection | undefined;
  /** Has said hello. */
  #next: Connection | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #nextTarget: number;
  #failures = 0;
  #state: SessionState = "starting";
  #drainReason: string | undefined;
  #ending = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.begun = this.#begun.promise;
    this.over = this.#over.promise;
    // Whoever does not ask how it went has no unhandled rejection for it.
    for (const promise of [this.begun, this.over]) promise.catch(() => {});
    this.#nextTarget = Math.floor(Math.random() * options.targets.length);
    this.#connect();
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Empty before the first welcome. */
  get sessionId(): string {
    return this.#sessionId;
  }

  flushSoon(): void {
    this.#current?.flushSoon();
  }

  report(progress: AttemptProgress): void {
    this.#current?.report(progress);
  }

  /** Tells the mesh, now and after every reconnect, that nothing new is taken. */
  drain(reason: string): void {
    this.#drainReason = reason;
    this.#current?.drain(reason);
  }

  /** Ends the stream, and the session with it. */
  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    clearTimeout(this.#retryTimer);
    this.#begun.reject(new AgentError("STOPPED", "The agent was stopped before it had reached a Registry."));
    this.#next?.abort("The agent stops.");
    if (this.#current === undefined) this.#finish();
    else this.#current.end();
  }

  onWelcome(connection: Connection, welcome: Welcome): void {
    const { runner, log } = this.#options;
    const old = this.#current;
    const begins = this.#sessionId === "";
    const lost = welcome.resumed
      ? runner.rewind(welcome.lost, "The mesh has given it to another agent.")
      : this.#loseAll();
    this.#next = undefined;
    this.#current = connection;
    this.#failures = 0;
    this.#sessionId = welcome.sessionId;
    this.#pulse = {
      heartbeatMs: welcome.heartbeatInterval ? durationMs(welcome.heartbeatInterval) : defaultPulse.heartbeatMs,
      leaseMs: welcome.leaseDuration ? durationMs(welcome.leaseDuration) : defaultPulse.leaseMs,
    };
    if (welcome.maxResultBytes > 0) runner.maxResultBytes = welcome.maxResultBytes;
    connection.carry(runner.outbox, this.#pulse);
    old?.end();
    if (this.#drainReason !== undefined) connection.drain(this.#drainReason);
    const fields = { registry: connection.target, session_id: this.#sessionId };
    if (welcome.resumed) log.info("session resumed", { ...fields, in_flight: runner.inFlight, lost });
    else if (begins) log.info("session begun", fields);
    else log.warn("the former session is gone, a new one has begun", { ...fields, lost });
    this.#become("active");
    this.#options.onConnected({ sessionId: this.#sessionId, resumed: welcome.resumed });
    this.#begun.resolve();
  }

  onFrame(connection: Connection, frame: ConnectResponse): void {
    if (connection !== this.#current || this.#ending) return;
    const { runner, log } = this.#options;
    if (frame.ack > 0n) runner.acknowledge(Number(frame.ack));
    for (const assignment of frame.assignments) runner.accept(assignment);
    for (const { taskId, attempt, cause, reason } of frame.cancels) runner.cancel({ taskId, attempt }, cause, reason);
    for (const { taskId, attempt, reason, message } of frame.rejections) {
      const level = reason === "INVALID_OUTCOME" ? "warn" : "debug";
      log[level]("an outcome was not recorded", { task_id: taskId, attempt, reason, message });
    }
    if (frame.drain !== undefined) this.#drained(frame.drain);
  }

  #drained({ reason, reconnect }: Drain): void {
    const { log, onDrain } = this.#options;
    if (!reconnect) {
      log.info("the mesh asks this agent to end", { reason });
      onDrain(reason);
      return;
    }
    log.info("the Registry goes away, the session moves to another", { reason });
    // What is said on the old stream after the new hello would not be in it.
    if (this.#next === undefined) this.#connect();
  }

  onClose(connection: Connection, error: ConnectError | undefined): void {
    if (connection === this.#next) {
      this.#next = undefined;
      this.#failedToConnect(connection, error);
    } else if (connection === this.#current) {
      this.#current = undefined;
      this.#broke(connection, error);
    }
  }

  #failedToConnect({ target }: Connection, error: ConnectError | undefined): void {
    const { log, hello } = this.#options;
    if (this.#ending) {
      if (this.#current === undefined) this.#finish();
      return;
    }
    if (error !== undefined && errorReason(error) === "SESSION_FENCED") return this.#fail(fenced(hello.agentId, error));
    if (error !== undefined && isLasting(error, this.#state)) return this.#fail(refused(hello.agentId, target, error));
    this.#failures++;
    // The 1st, 2nd, 4th, 8th … in a row: a Registry that is away for an hour shall not fill the log.
    if ((this.#failures & (this.#failures - 1)) === 0) {
      const why = error?.rawMessage ?? "It ended the stream before its welcome.";
      log.warn("cannot reach the Registry, trying on", { registry: target, failures: this.#failures, why });
    }
    this.#current?.undefer();
    this.#retry(error);
  }

  #broke(connection: Connection, error: ConnectError | undefined): void {
    if (this.#ending) {
      if (this.#next === undefined) this.#finish();
      return;
    }
    this.#become("suspended");
    // The new stream's answer says how it goes on; the old one ends because of it, and says anything.
    if (this.#next !== undefined) return;
    const { log, hello, runner } = this.#options;
    const reason = error === undefined ? undefined : errorReason(error);
    if (error !== undefined && reason === "SESSION_FENCED") return this.#fail(fenced(hello.agentId, error));
    this.#tellOfBlock();
    const why = error?.rawMessage ?? "The Registry ended it.";
    const fields = { registry: connection.target, session_id: this.#sessionId, why };
    if (error?.code === Code.InvalidArgument || reason === "SESSION_EXPIRED") {
      // Said again, the same would be refused again: so what is held is let go.
      const lost = this.#loseAll();
      this.#sessionId = "";
      log.warn("the session has ended, a new one is begun", { ...fields, lost });
    } else {
      log.warn("the stream broke, resuming the session", { ...fields, in_flight: runner.inFlight });
    }
    this.#retry(error);
  }

  #tellOfBlock(): void {
    const blockedMs = this.#watch.takeLongestMs(this.#pulse.leaseMs);
    const turn = this.#options.runner.takeLongestTurn();
    if (blockedMs < this.#pulse.leaseMs) return;
    this.#options.log.warn(
      `the event loop was blocked for ${inSeconds(blockedMs)}, longer than the session's lease of ` +
        `${inSeconds(this.#pulse.leaseMs)}; move CPU work to a worker thread`,
      turn.durationMs > blockedMs / 2 ? { capability: turn.capability } : {},
    );
  }

  #retry(error: ConnectError | undefined): void {
    const askedMs = error === undefined ? 0 : (errorRetryDelayMs(error) ?? 0);
    const delayMs = Math.max(backoffDelayMs(this.#failures + 1, backoff), askedMs);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
  }

  #connect(): void {
    const { targets, hello, runner, log } = this.#options;
    clearTimeout(this.#retryTimer);
    this.#current?.defer();
    const target = targets[this.#nextTarget++ % targets.length]!;
    const held = this.#sessionId === "" ? [] : Array.from(runner.held.values(), ({ assignment }) => assignment);
    const inFlight = held.map(({ taskId, attempt }) => {
      return { $typeName: "legion.registry.v1.AttemptRef" as const, taskId, attempt };
    });
    this.#next = new Connection(target, { ...hello, sessionId: this.#sessionId, inFlight }, this, log);
  }

  #loseAll(): number {
    const { runner } = this.#options;
    return runner.rewind([...runner.held.values()], "The agent's session has ended.");
  }

  #fail(error: AgentError): void {
    const { log } = this.#options;
    this.#ending = true;
    clearTimeout(this.#retryTimer);
    this.#loseAll();
    for (const connection of [this.#current, this.#next]) connection?.abort(error.message);
    this.#begun.reject(error);
    this.#over.reject(error);
    log.error(error.message, { reason: error.reason });
    this.#finish();
  }

  #finish(): void {
    this.#watch[Symbol.dispose]();
    this.#over.resolve();
    this.#become("stopped");
  }

  #become(state: SessionState): void {
    if (this.#state === state || this.#state === "stopped") return;
    this.#state = state;
    this.#options.onChange();
  }
}

/** Once welcomed, an agent bears with a proxy that knows nothing of it for a moment; before, that is a wrong address. */
function isLasting({ code }: ConnectError, state: SessionState): boolean {
  return state === "starting"
    ? code === Code.Unimplemented || lastingRefusals.has(code)
    : code === Code.InvalidArgument;
}

function inSeconds(ms: number): string {
  return `${Number((ms / 1_000).toFixed(1))} s`;
}
