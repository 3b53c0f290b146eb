import { join } from "node:path";
import { deathNotice, describeDeath } from "./death-notice.ts";
import { demoCapabilities, whenOffered } from "./demo-agents.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { ChildOutput } from "./child-output.ts";
import { type Database, foreignDatabase, ownDatabase } from "./database.ts";
import type { DataDir } from "./data-dir.ts";
import { migrateAll } from "./migrations.ts";
import { packageRoot } from "./package-root.ts";
import { meshVariables, type ServicePlan } from "./port-plan.ts";
import type { Screen } from "./screen.ts";
import { slowStep } from "./slow-step.ts";
import { StartError } from "./start-error.ts";
import { Supervised, type SupervisedOptions } from "./supervised.ts";
import { whenReady } from "./when-ready.ts";

export interface LocalMeshOptions {
  readonly plan: readonly ServicePlan[];
  readonly dataDir: DataDir;
  readonly screen: Screen;
  readonly env: NodeJS.ProcessEnv;
}

// After how long what still runs is killed, from the beginning of the stop: all is gone within 5 s. One after the other, so
// that the agents' last outcomes still get home; time that one leaves is the next one's.
const stopLimitsMs = { agents: 2_000, front: 3_600, back: 4_000, database: 4_500 };
/** A process that dies this often before it was ever ready will not live. */
const deathsOfAStillbirth = 3;
/** What a process ends with when its settings cannot be used; another try would not help. */
const badSettingsCode = 2;

/** Postgres, the four services and the demo agents, as processes of this machine. */
export class LocalMesh {
  readonly #options: LocalMeshOptions;
  readonly #processes = new Map<string, Supervised>();
  readonly #outputs: ChildOutput[] = [];
  readonly #startFailure = Promise.withResolvers<never>();
  #starting: Promise<void> | undefined;
  #database: Database | undefined;
  #stopping = false;

  constructor(options: LocalMeshOptions) {
    this.#options = options;
    this.#startFailure.promise.catch(() => {});
  }

  /** Where Postgres is, for people. */
  get databaseAddress(): string {
    return this.#database?.address ?? "";
  }

  httpPort(service: string): number {
    return this.#options.plan.find(({ name }) => name === service)?.httpPort ?? 0;
  }

  /** Resolves when all four services are ready. @throws StartError when one cannot be brought to life. */
  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { plan, dataDir, screen, env } = this.#options;
    const url = env["DATABASE_URL"]?.trim();
    this.#database = url ? foreignDatabase(url) : await ownDatabase(dataDir, screen);
    await slowStep(screen, "migrating the database", migrateAll(this.#database.url));
    const services = plan.map(({ name, grpcPort, httpPort }) => {
      const own = { BIND_HOST: "127.0.0.1", GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort) };
      return this.#supervise(name, `services/${name}/main.ts`, own, (signal) => whenReady(httpPort, signal));
    });
    const allReady = Promise.all(services.map(({ ready }) => ready));
    await slowStep(screen, "starting the services", Promise.race([allReady, this.#startFailure.promise]));
  }

  /** Starts the demo agents; resolves with what they offer when they have registered. */
  async startAgents(): Promise<readonly string[]> {
    const registry = this.httpPort("registry");
    const whenRegistered = (signal: AbortSignal): Promise<void> => whenOffered(registry, demoCapabilities, signal);
    const agents = this.#supervise("agents", "libs/agent/demo/main.ts", {}, whenRegistered);
    const ready = Promise.race([agents.ready, this.#startFailure.promise]);
    await slowStep(this.#options.screen, "starting the demo agents", ready);
    return demoCapabilities;
  }

  /** Stops all of it, in order; what does not stop in time is killed. Takes less than 5 s. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#startFailure.reject(new Error("stopped"));
    // Neighbours complain about each other's absence while they go one after the other.
    this.#options.screen.expectEnd();
    const startedMs = systemClock.monotonic();
    const left = (limitMs: number): number => Math.max(0, limitMs - (systemClock.monotonic() - startedMs));
    await this.#stopProcesses(["agents"], left(stopLimitsMs.agents));
    await this.#stopProcesses(["registry", "dispatcher"], left(stopLimitsMs.front));
    await this.#stopProcesses([...this.#processes.keys()], left(stopLimitsMs.back));
    // A Postgres that was still starting has to be there before it can be stopped.
    await this.#starting?.catch(() => {});
    await this.#database?.stop(left(stopLimitsMs.database));
    this.#options.dataDir.processes.clear();
    for (const output of this.#outputs) output[Symbol.dispose]();
  }

  /** Kills all of it at once. */
  async kill(): Promise<void> {
    this.#stopping = true;
    for (const supervised of this.#processes.values()) supervised.kill();
    await this.#database?.kill();
  }

  async #stopProcesses(names: readonly string[], limitMs: number): Promise<void> {
    const processes = [...this.#processes.values()].filter(({ name }) => names.includes(name));
    await Promise.all(processes.map((supervised) => supervised.stop(limitMs)));
  }

  #supervise(name: string, main: string, env: NodeJS.ProcessEnv, ready: SupervisedOptions["whenReady"]): Supervised {
    if (this.#stopping) throw new Error(`The mesh is stopping: the ${name} is not started.`);
    const { plan, dataDir, screen } = this.#options;
    const output = new ChildOutput(name, screen, dataDir.logs);
    this.#outputs.push(output);
    const supervised = new Supervised({
      name,
      args: [join(packageRoot, main)],
      // One name for all of them would make one service of the four in every trace.
      env: {
        ...this.#options.env,
        OTEL_SERVICE_NAME: undefined,
        DATABASE_URL: this.#database?.url,
        ...meshVariables(plan),
        ...env,
      },
      whenReady: ready,
      onStarted: (pid) => dataDir.processes.set(name, pid),
      onLine: (line, stream) => output.add(line, stream),
      onDeath: (exit, { restartDelayMs, deaths, wasReady }) => {
        const error = output.lastError.take();
        if (wasReady || (deaths < deathsOfAStillbirth && exit.code !== badSettingsCode)) {
          screen.tell(deathNotice(name, exit, error, restartDelayMs));
          return;
        }
        const log = join(dataDir.shortLogs, `${name}.log`);
        const why = describeDeath(exit, error);
        this.#startFailure.reject(new StartError(`The ${name} does not start (${why}); all it said is in ${log}.`));
      },
      onRecovered: () => screen.tell({ event: "process_ready", process: name, text: "is ready again" }),
    });
    this.#processes.set(name, supervised);
    return supervised;
  }
}
