import assert from "node:assert/strict";
import { join } from "node:path";
import { enumName } from "#libs/cli/render-json.ts";
import { LegionCore } from "#libs/client/index.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { type Version, VersionStage, VersionStageSchema } from "#libs/proto/legion/registry/v1/version_pb.ts";
import type { Incident } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { type Mesh, type MeshOptions, startMesh } from "../harness/mesh.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { waitFor } from "../harness/wait-for.ts";

export interface AgentKind {
  readonly version: string;
  /** Default: the version's own. */
  readonly agentId?: string;
  /** About how long a task takes. Default 10. */
  readonly ms?: number;
  /** The share of tasks that fail, 0 to 1. */
  readonly fail?: number;
  /** Of how many, from the first. Default: all. */
  readonly failFirst?: number;
  /** Bytes that each task leaves behind. */
  readonly leak?: number;
  readonly slots?: number;
}

/** A mesh, agents of several versions of one name in a process each, and tasks for them without an end. */
export class RolloutWorld implements AsyncDisposable {
  readonly mesh: Mesh;
  readonly core: LegionCore;
  readonly registry;
  readonly watchdog;
  readonly #stack: AsyncDisposableStack;
  readonly #stop = new AbortController();
  readonly #load: Promise<void>[] = [];
  /** Completed tasks, by who did them. */
  readonly done = new Map<string, number>();
  readonly errors: unknown[] = [];

  constructor(mesh: Mesh, core: LegionCore, stack: AsyncDisposableStack) {
    this.mesh = mesh;
    this.core = core;
    this.#stack = stack;
    this.registry = createClient(RegistryService, stack.use(new GrpcChannel(mesh.registry.address)));
    this.watchdog = createClient(WatchdogService, stack.use(new GrpcChannel(mesh.watchdog.address)));
  }

  static async start({ env, ...options }: MeshOptions = {}): Promise<RolloutWorld> {
    await using stack = new AsyncDisposableStack();
    const settings = { STAGE_EXECUTIONS: "60", JUDGE_INTERVAL: "50ms", EJECTION_REST: "2s", ...env };
    const mesh = stack.use(await startMesh({ ...options, env: settings }));
    const { LEGION_DISPATCHER: dispatcher = "" } = mesh.env;
    const core = stack.use(new LegionCore({ dispatcher }));
    return new RolloutWorld(mesh, core, stack.move());
  }

  /** Starts an agent in a process of its own; resolves when it is connected. */
  async agent({
    version,
    ms = 10,
    fail = 0,
    failFirst = Infinity,
    leak = 0,
    slots = 8,
    agentId = `v${version}`,
  }: AgentKind) {
    const env = {
      ...this.mesh.env,
      AGENT_ID: agentId,
      VERSION: version,
      MS: String(ms),
      FAIL: String(fail),
      FAIL_FIRST: String(failFirst),
      LEAK: String(leak),
      SLOTS: String(slots),
    };
    const main = join(import.meta.dirname, "fixtures/agent.ts");
    const made = new MeshProcess({ name: agentId, main, grpcPort: 0, httpPort: 0, env });
    this.mesh.processes.set(agentId, made);
    made.spawn();
    await waitFor(async () => (await this.registry.getAgent({ agentId })).agent?.state === 1, {
      timeoutMs: 20_000,
      describe: () => `the agent ${agentId}; it said:\n${made.lines.slice(-10).join("\n")}`,
    });
    // Its hello is answered once that is decided.
    const isDecided = async () => ((await this.versions()).get(version)?.stage ?? 0) !== VersionStage.UNSPECIFIED;
    await waitFor(isDecided, { describe: "a decision about its version" });
    return made;
  }

  /** Keeps so many tasks under way until `finish`; each is tried again until it succeeds. */
  load(width: number): void {
    for (let i = 0; i < width; i++) this.#load.push(this.#work(i));
  }

  async #work(lane: number): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted; n++) {
      try {
        const retry = { maxAttempts: 100, initialDelayMs: 1, maxDelayMs: 5 };
        const options = { timeoutMs: 60_000, retryPolicy: retry };
        const result = await this.core.dispatchTask(undefined, { n: lane * 1_000_000 + n }, "work", options);
        const { by } = result as { by: string };
        this.done.set(by, (this.done.get(by) ?? 0) + 1);
      } catch (error) {
        this.errors.push(error);
      }
    }
  }

  /** Ends the load; every task has come out well. */
  async finish(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#load);
    assert.deepEqual(this.errors, []);
  }

  async versions(): Promise<Map<string, Version>> {
    const { versions } = await this.registry.listVersions({ name: "roller" });
    return new Map(versions.map((version) => [version.version, version]));
  }

  /** `1: 90 current, 2: 10 canary`. */
  async weights(): Promise<string> {
    const versions = [...(await this.versions()).values()].toSorted((a, b) => (a.version < b.version ? -1 : 1));
    return versions
      .map(({ version, weight, stage }) => `${version}: ${weight} ${enumName(VersionStageSchema, stage).toLowerCase()}`)
      .join(", ");
  }

  /** With what was found against whom, if they differ. */
  async assertWeights(expected: string): Promise<void> {
    const found = (await this.incidents()).map(({ summary }) => summary).join("\n");
    assert.equal(await this.weights(), expected, found);
  }

  async whenWeights(expected: string, timeoutMs = 30_000): Promise<void> {
    let last = "";
    await waitFor(async () => (last = await this.weights()) === expected, {
      timeoutMs,
      describe: () => `the weights ${expected}; they are ${last}; the Watchdog said:\n${this.#watchdogSaid()}`,
    });
  }

  async incidents(): Promise<Incident[]> {
    return (await this.watchdog.listIncidents({})).incidents;
  }

  /** An incident that is over. */
  async whenOver(timeoutMs = 30_000): Promise<Incident> {
    return await waitFor(async () => (await this.incidents()).find(({ endTime }) => endTime !== undefined), {
      timeoutMs,
      describe: () => `the end of an incident; done: ${JSON.stringify([...this.done])}; ${this.#watchdogSaid()}`,
    });
  }

  #watchdogSaid(): string {
    return this.mesh.logs("watchdog").slice(-8).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#stack.disposeAsync();
  }
}
