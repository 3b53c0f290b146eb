import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import { create, type DescService } from "@bufbuild/protobuf";
import { ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { pendingMigrations } from "#libs/db/migrate.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { HttpServer } from "#libs/rpc/http-server.ts";
import { validate } from "#libs/rpc/validate.ts";
import { createLogger, type Logger } from "#libs/telemetry/logger.ts";
import { createMetrics, type Metrics } from "#libs/telemetry/metrics.ts";
import { createRpcMetrics } from "#libs/telemetry/rpc-metrics.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import packageJson from "../../package.json" with { type: "json" };
import type { HostConfig } from "./host-env.ts";

export interface HostOptions {
  /** `registry`, `dispatcher`, `ratelimit` or `watchdog`; also the name of its Postgres schema. */
  readonly name: string;
  readonly config: HostConfig;
  readonly migrationsDirectory: URL;
  /** Postgres settings of every connection. */
  readonly poolSettings?: Readonly<Record<string, string>>;
  /** Ends the waiting for Postgres and its schema. */
  readonly signal?: AbortSignal | undefined;
}

/** Says why the service is not ready, in a few words, or undefined when it is. */
export type ReadinessCheck = () => string | undefined;

/**
 * What the four services share: a pool on their schema, a gRPC and an HTTP port with the same handlers, health, metrics,
 * logs. It comes back once Postgres answers and the schema is as new as this code; it never migrates by itself.
 */
export async function startHost(options: HostOptions): Promise<ServiceHost> {
  const { name, config } = options;
  await using stack = new AsyncDisposableStack();
  const instanceId = randomUUID();
  const log = createLogger({ service: name });
  const telemetry = stack.use(
    await startTelemetry({ serviceName: `legion-${name}`, serviceVersion: packageJson.version, instanceId, log }),
  );
  const pool = stack.use(
    new ConnectionPool({
      connectionString: config.DATABASE_URL,
      schema: name,
      max: config.POOL_SIZE,
      applicationName: `legion-${name}`,
      ...(options.poolSettings && { settings: options.poolSettings }),
      onStateChange: (state) => {
        if (state === "connected") log.info("Postgres answers");
        else log.warn("Postgres is away; waiting for it");
      },
      onError: (err) => log.debug("a connection to Postgres broke", { err }),
    }),
  );
  await whenAnswered(pool, options, log);
  await whenMigrated(options, log);

  const handlers = { log, metrics: createRpcMetrics() };
  const grpc = new GrpcServer({ host: config.BIND_HOST, port: config.GRPC_PORT, ...handlers });
  const http = new HttpServer({
    host: config.BIND_HOST,
    port: config.HTTP_PORT,
    allowedOrigins: config.ALLOWED_ORIGINS ?? [],
    ...handlers,
  });
  http.route("/metrics", (request, response) => telemetry.metricsHandler(request, response));
  return new ServiceHost({ name, instanceId, log, pool, grpc, http, metrics: createMetrics(name) }, stack.move());
}

async function whenAnswered(pool: ConnectionPool, { signal }: HostOptions, log: Logger): Promise<void> {
  let told = false;
  const tell = (err: unknown): void => {
    if (!told) log.warn("Postgres does not answer; waiting for it", { err });
    told = true;
  };
  try {
    await pool.whenReady(signal, tell);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

async function whenMigrated({ name, config, migrationsDirectory, signal }: HostOptions, log: Logger): Promise<void> {
  const directory = fileURLToPath(migrationsDirectory);
  for (let waited = 0; ; waited++) {
    const pending = await pendingMigrations(config.DATABASE_URL, { schema: name, directory });
    if (pending.length === 0) return;
    if (waited % 30 === 0) {
      log.warn(`waiting for the schema ${name} to be migrated (run: legion migrate)`, { pending });
    }
    await sleep(systemClock, 1_000, signal);
    signal?.throwIfAborted();
  }
}

interface HostParts {
  readonly name: string;
  /** Names this process; new at every start. */
  readonly instanceId: string;
  readonly log: Logger;
  readonly pool: ConnectionPool;
  readonly grpc: GrpcServer;
  readonly http: HttpServer;
  readonly metrics: Metrics;
}

export class ServiceHost implements AsyncDisposable, HostParts {
  readonly name: string;
  readonly instanceId: string;
  readonly log: Logger;
  readonly pool: ConnectionPool;
  readonly grpc: GrpcServer;
  readonly http: HttpServer;
  readonly metrics: Metrics;
  grpcPort = 0;
  httpPort = 0;
  readonly #base: AsyncDisposableStack;
  readonly #own = new AsyncDisposableStack();
  readonly #checks = new Map<string, ReadinessCheck>();
  readonly #health: Ticker;
  #databaseAnswers = true;
  #closing = false;

  constructor(parts: HostParts, base: AsyncDisposableStack) {
    this.name = parts.name;
    this.instanceId = parts.instanceId;
    this.log = parts.log;
    this.pool = parts.pool;
    this.grpc = parts.grpc;
    this.http = parts.http;
    this.metrics = parts.metrics;
    this.#base = base;
    this.#health = new Ticker({
      name: "health",
      everyMs: 1_000,
      tick: () => this.#checkHealth(),
      clock: systemClock,
      log: parts.log,
    });
    parts.metrics.observableGauge("pool_connections", "Connections to Postgres, by what they do", () => {
      const { total, idle, waiting } = parts.pool.getMetrics();
      return [
        [total - idle, { state: "in_use" }],
        [idle, { state: "idle" }],
        [waiting, { state: "waited_for" }],
      ];
    });
    parts.http.route("/healthz", (_request, response) => respond(response, 200, "ok"));
    parts.http.route("/readyz", (_request, response) => {
      const problems = this.problems();
      respond(response, problems.length === 0 ? 200 : 503, problems.length === 0 ? "ready" : problems.join("\n"));
    });
  }

  /** Serves the handlers on the gRPC and on the HTTP port. */
  mount<S extends DescService>(service: S, impl: Partial<ServiceImpl<S>>): this {
    warmUpValidation(service);
    this.grpc.mount(service, impl);
    this.http.mount(service, impl);
    return this;
  }

  /** Adds a condition to readiness, beside Postgres. */
  readyWhen(name: string, check: ReadinessCheck): this {
    this.#checks.set(name, check);
    return this;
  }

  /** Disposed of, last come first, once the ports have stopped taking calls. */
  use<T extends Disposable | AsyncDisposable>(resource: T): T {
    return this.#own.use(resource as T & AsyncDisposable);
  }

  /** What keeps the service from being ready; empty when it is. */
  problems(): string[] {
    const problems = this.#closing ? ["it is shutting down"] : [];
    if (!this.#databaseAnswers) problems.push("database: Postgres does not answer");
    for (const [name, check] of this.#checks) {
      const problem = check();
      if (problem !== undefined) problems.push(`${name}: ${problem}`);
    }
    return problems;
  }

  get databaseAnswers(): boolean {
    return this.#databaseAnswers;
  }

  async listen(): Promise<void> {
    await this.#checkHealth();
    this.grpcPort = await this.grpc.listen();
    this.httpPort = await this.http.listen();
    this.#report();
    const stop = new AbortController();
    void this.#health.run(stop.signal);
    this.#own.defer(() => stop.abort());
    this.log.info("listening", { grpc_port: this.grpcPort, http_port: this.httpPort });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#report();
    // Long streams are ended by what `use` was given; calls that are under way have this long.
    const closed = Promise.all([this.grpc.shutdown({ graceMs: 2_000 }), this.http.shutdown({ graceMs: 2_000 })]);
    await this.#own.disposeAsync();
    await closed;
    await this.#base.disposeAsync();
  }

  async #checkHealth(): Promise<void> {
    this.#databaseAnswers = await this.pool.healthCheck();
    this.#report();
  }

  #report(): void {
    const serving = this.problems().length === 0;
    for (const service of this.grpc.healthNames) this.grpc.setServing(service, serving);
  }
}

function respond(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${text}\n`);
}

/** The rules of a message are compiled when it is first checked, 200 ms for a task; the first caller need not wait for that. */
function warmUpValidation(service: DescService): void {
  for (const { input } of service.methods) {
    try {
      validate(input, create(input));
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
    }
  }
}
