import { mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { resolve } from "node:path";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { type Cluster, openCluster } from "./embedded/cluster.ts";
import { type DirectoryLock, lockDirectory } from "./embedded/directory-lock.ts";
import { stopOrphan } from "./embedded/orphan.ts";
import {
  type PostgresExit,
  type PostgresProcess,
  PostgresStartError,
  spawnPostgres,
} from "./embedded/postgres-process.ts";

export interface EmbeddedPostgresOptions {
  /** Made if missing. The cluster is in `<dataDir>/postgres`. */
  readonly dataDir: string;
  /** On 127.0.0.1. Default 0: a free one, which stays the same over `restart()`. */
  readonly port?: number;
  /** Gets every line of Postgres's log. */
  readonly log?: (line: string) => void;
  /** Server settings over the defaults below, for example `{ max_connections: "50" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

const defaultSettings = {
  shared_buffers: "256MB",
  max_connections: "200",
  // Never seen to pay for the short statements of a service; compiling one costs up to a second.
  jit: "off",
  max_parallel_workers_per_gather: "0",
  random_page_cost: "1.1",
  // A checkpoint writes whole pages to the log again; 1 GB is filled within a minute at full load.
  max_wal_size: "4GB",
};

/** How Postgres ends: `fast` breaks connections off and writes everything out; `immediate` recovers at the next start. */
export type StopMode = "fast" | "immediate";

/**
 * A Postgres of our own, listening on 127.0.0.1 alone, behind a random password kept in `<dataDir>/password`.
 * One living process owns a data directory. A Postgres that a killed owner left behind is stopped and started anew.
 *
 * Not for several machines on one network file system: Postgres itself forbids that.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockDirectory(dataDir);
  try {
    const cluster = await openCluster(dataDir);
    await stopOrphan(cluster.directory);
    const postgres = new EmbeddedPostgres(lock, cluster, options, options.port || (await freePort()));
    await postgres.restart();
    return postgres;
  } catch (error) {
    lock.release();
    throw error;
  }
}

export class EmbeddedPostgres implements AsyncDisposable {
  readonly port: number;
  /** Of the superuser `postgres` and the database `postgres`; contains the password. */
  readonly connectionString: string;
  readonly #lock: DirectoryLock;
  readonly #cluster: Cluster;
  readonly #options: EmbeddedPostgresOptions;
  #process: PostgresProcess | undefined;
  #exited: Promise<PostgresExit> = Promise.resolve({ code: 0, signal: null });
  #disposed = false;
  #isUnref = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(lock: DirectoryLock, cluster: Cluster, options: EmbeddedPostgresOptions, port: number) {
    this.#lock = lock;
    this.#cluster = cluster;
    this.#options = options;
    this.port = port;
    this.connectionString = `postgres://postgres:${cluster.password}@127.0.0.1:${port}/postgres`;
  }

  /** The postmaster's, while it runs. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Resolves when the Postgres that runs now ends, whoever ended it. After a `restart()` ask again. */
  get exited(): Promise<PostgresExit> {
    return this.#exited;
  }

  /** Lets this process end while Postgres runs, which then is somebody else's to stop. */
  unref(): void {
    this.#isUnref = true;
    this.#process?.unref();
  }

  /** Ends Postgres and waits for that; the data directory stays ours. Nothing happens if it does not run. */
  stop(mode: StopMode = "fast"): Promise<void> {
    return this.#inTurn(() => this.#stop(mode));
  }

  /** Kills Postgres with SIGKILL and waits for its end: for tests of what a crash does. */
  async kill(): Promise<void> {
    this.#process?.signal("SIGKILL");
    await this.#exited;
  }

  /** Stops Postgres if it runs, and starts it on the same port; resolves when it accepts connections. */
  restart(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#disposed) throw new Error("This embedded Postgres was disposed of.");
      await this.#stop("fast");
      await this.#start();
    });
  }

  /** Stops Postgres and gives the data directory free. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    return this.#inTurn(async () => {
      await this.#stop("fast");
      this.#lock.release();
    });
  }

  async #start(): Promise<void> {
    const settings = {
      ...defaultSettings,
      ...this.#options.settings,
      listen_addresses: "127.0.0.1",
      port: String(this.port),
      unix_socket_directories: "",
      log_destination: "stderr",
      logging_collector: "off",
    };
    for (let attempt = 1; ; attempt++) {
      try {
        const started = await spawnPostgres(this.#cluster, settings, this.#options.log ?? (() => {}));
        this.#process = started;
        if (this.#isUnref) started.unref();
        this.#exited = started.exited;
        void this.#forgetWhenEnded(started);
        return;
      } catch (error) {
        // The killed predecessor's port and shared memory are free again within a second or so.
        const passing = error instanceof PostgresStartError && (error.predecessorLingers || error.portTaken);
        if (!passing || attempt === 50) throw error;
        await sleep(systemClock, 100);
      }
    }
  }

  async #forgetWhenEnded(started: PostgresProcess): Promise<void> {
    await started.exited;
    if (this.#process === started) this.#process = undefined;
  }

  async #stop(mode: StopMode): Promise<void> {
    const running = this.#process;
    if (running === undefined) return;
    running.signal(mode === "fast" ? "SIGINT" : "SIGQUIT");
    const harder = [
      setTimeout(() => running.signal("SIGQUIT"), 30_000),
      setTimeout(() => running.signal("SIGKILL"), 40_000),
    ];
    await running.exited;
    harder.forEach(clearTimeout);
  }

  /** One start or stop at a time: else a dispose during a restart would leave a Postgres behind. */
  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(action);
    this.#turn = result.catch(() => {});
    return result;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === "string") throw new Error("No port of 127.0.0.1 is free.");
  return address.port;
}
