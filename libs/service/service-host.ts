import { randomUUID } from "node:crypto";
import { create, type DescService } from "@bufbuild/protobuf";
import { ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { HttpServer } from "#libs/rpc/http-server.ts";
import { validate } from "#libs/rpc/validate.ts";
import { createLogger, type Logger } from "#libs/telemetry/logger.ts";
import { createMetrics, type Metrics } from "#libs/telemetry/metrics.ts";
import { createRpcMetrics } from "#libs/telemetry/rpc-metrics.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import packageJson from "../../package.json" with { type: "json" };
import type { HostConfig } from "./host-env.ts";
import { Readiness, type ReadinessCheck } from "./readiness.ts";
import { waitForSchema } from "./wait-for-schema.ts";

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

/**
 * What the four services share: a pool on their schema, a gRPC and an HTTP port with the same handlers, health, metrics,
 * logs. It comes back once Postgres answers and the schema is as new as this code; it never migrates by itself. While it waits
 * the HTTP port is open already, so that a probe learns what for.
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
  const handlers = { log, metrics: createRpcMetrics() };
  const readiness = new Readiness();
  const http = stack.use(
    new HttpServer({
      host: config.BIND_HOST,
      port: config.HTTP_PORT,
      allowedOrigins: config.ALLOWED_ORIGINS ?? [],
      problems: () => readiness.problems(),
      ...handlers,
    }),
  );
  http.route("/metrics", (request, response) => telemetry.metricsHandler(request, response));
  const metrics = createMetrics(name);
  let host: ServiceHost | undefined;
  // From the start: who waits for Postgres is to be seen waiting.
  metrics.observableGauge("ready", "1 while /readyz says 200", () => (readiness.problems().length === 0 ? 1 : 0));
  metrics.observableGauge("database_up", "1 while Postgres answers", () =>
    (host?.databaseAnswers ?? pool.getMetrics().state === "connected") ? 1 : 0,
  );
  const httpPort = await http.listen();
  const { migrationsDirectory, signal } = options;
  const databaseUrl = config.DATABASE_URL;
  await waitForSchema({ pool, name, databaseUrl, migrationsDirectory, readiness, log, signal });

  const grpc = new GrpcServer({ host: config.BIND_HOST, port: config.GRPC_PORT, ...handlers });
  host = new ServiceHost({ name, instanceId, log, pool, grpc, http, httpPort, metrics, readiness }, stack.move());
  return host;
}

interface HostParts {
  readonly name: string;
  /** Names this process; new at every start. */
  readonly instanceId: string;
  readonly log: Logger;
  readonly pool: ConnectionPool;
  readonly grpc: GrpcServer;
  readonly http: HttpServer;
  readonly httpPort: number;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
}

export class ServiceHost implements AsyncDisposable, HostParts {
  readonly name: string;
  readonly instanceId: string;
  readonly log: Logger;
  readonly pool: ConnectionPool;
  readonly grpc: GrpcServer;
  readonly http: HttpServer;
  readonly httpPort: number;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  grpcPort = 0;
  readonly #base: AsyncDisposableStack;
  readonly #own = new AsyncDisposableStack();
  readonly #tickers: readonly Ticker[];
  #databaseAnswers = true;
  #listening = false;
  /** As last reported; undefined before the first time. */
  #serving: boolean | undefined;
  #closing = false;

  constructor(parts: HostParts, base: AsyncDisposableStack) {
    this.name = parts.name;
    this.instanceId = parts.instanceId;
    this.log = parts.log;
    this.pool = parts.pool;
    this.grpc = parts.grpc;
    this.http = parts.http;
    this.httpPort = parts.httpPort;
    this.metrics = parts.metrics;
    this.readiness = parts.readiness;
    this.#base = base;
    const { log } = parts;
    this.#tickers = [
      new Ticker({ name: "health", everyMs: 1_000, tick: () => this.#askDatabase(), clock: systemClock, log }),
      new Ticker({ name: "readiness", everyMs: 100, tick: async () => this.#report(), clock: systemClock, log }),
    ];
    this.readyWhen("start", () => (this.#listening ? undefined : "the ports are not open yet"));
    this.readyWhen("stop", () => (this.#closing ? "it is shutting down" : undefined));
    this.readyWhen("database", () => (this.#databaseAnswers ? undefined : "Postgres does not answer"));
    parts.metrics.observableGauge("pool_connections", "Connections to Postgres, by what they do", () => {
      const { total, idle, waiting } = parts.pool.getMetrics();
      return [
        [total - idle, { state: "in_use" }],
        [idle, { state: "idle" }],
        [waiting, { state: "waited_for" }],
      ];
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
    this.readiness.add(name, check);
    return this;
  }

  /** Disposed of, last come first, once the ports have stopped taking calls. */
  use<T extends Disposable | AsyncDisposable>(resource: T): T {
    return this.#own.use(resource as T & AsyncDisposable);
  }

  get databaseAnswers(): boolean {
    return this.#databaseAnswers;
  }

  async listen(): Promise<void> {
    await this.#askDatabase();
    this.grpcPort = await this.grpc.listen();
    this.#listening = true;
    this.#report();
    const stop = new AbortController();
    for (const ticker of this.#tickers) void ticker.run(stop.signal);
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

  async #askDatabase(): Promise<void> {
    this.#databaseAnswers = await this.pool.healthCheck();
  }

  /** Tells those who ask by gRPC what /readyz says. */
  #report(): void {
    const serving = this.readiness.problems().length === 0;
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const service of this.grpc.healthNames) this.grpc.setServing(service, serving);
  }
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
