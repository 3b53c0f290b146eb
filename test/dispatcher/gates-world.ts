import assert from "node:assert/strict";
import { Code, type ConnectError } from "@connectrpc/connect";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Client } from "pg";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { Assignment } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { waitFor } from "../harness/wait-for.ts";
import { FakeRegistry, type FakeSession } from "./fake-registry.ts";
import type { RunningDispatcher, World } from "./harness.ts";

export const perUser = { kind: { case: "user", value: true } } as const;
export const concurrency = (max: number) => ({ case: "concurrency", value: { max: BigInt(max) } }) as const;

/** Sets limits that apply to one capability each, by its name, and waits until every Dispatcher holds them. */
export async function setLimits(
  world: World,
  dispatchers: readonly RunningDispatcher[],
  limits: readonly { name: string; capability: string; kind: unknown; per?: readonly unknown[]; unit?: string }[],
): Promise<void> {
  for (const { capability, ...limit } of limits) {
    await world.rateLimit.client.setLimit({
      limit: { ...limit, selector: { capabilities: [capability] } } as never,
    });
  }
  // Set last, so that whoever holds it holds the others too: it refuses what could never pass.
  const name = `canary-${Math.random()}`;
  const kind = { case: "tokenBucket", value: { tokens: 1n, period: { seconds: 1n }, burst: 1n } } as const;
  await world.rateLimit.client.setLimit({ limit: { name, selector: { capabilities: [name] }, kind } });
  // Those that are accepted until then are to be in nobody's way.
  const runTime = timestampFromMs(Date.now() + 86_400_000);
  for (const { client } of dispatchers) {
    const isRefused = () =>
      client.submitTask({ task: { capability: name, runTime, costs: [{ amount: 2n }] } }).then(
        () => false,
        (error: ConnectError) => error.code === Code.InvalidArgument,
      );
    await waitFor(isRefused, { describe: "the limits to hold" });
  }
}

/** What agents hold, over all sessions: given to them and not answered. */
export class Held {
  readonly #held = new Map<string, { session: FakeSession; assignment: Assignment }>();
  readonly #sessions = new Map<FakeRegistry, FakeSession[]>();
  most = 0;
  /** Tasks in the order in which their first attempts came. */
  readonly order: string[] = [];

  async attach(dispatcher: RunningDispatcher, capabilities: readonly string[], slots = 100): Promise<FakeRegistry> {
    const registry = await FakeRegistry.connect(dispatcher.address);
    const session = registry.begin({ capabilities: capabilities.map((name) => ({ name })), slots });
    session.work = (assignment) => {
      this.#held.set(`${assignment.taskId}#${assignment.attempt}`, { session, assignment });
      this.most = Math.max(this.most, this.size);
      if (assignment.attempt === 1) this.order.push(assignment.taskId);
      return undefined;
    };
    await session.attached;
    this.#sessions.set(registry, [...(this.#sessions.get(registry) ?? []), session]);
    return registry;
  }

  get size(): number {
    return this.#held.size;
  }

  get names(): string[] {
    return [...this.#held.keys()];
  }

  /** The sessions of a Registry end; what they held had been received. */
  async end(registry: FakeRegistry): Promise<void> {
    const ended = this.#sessions.get(registry) ?? [];
    this.lose(registry);
    for (const session of ended) await session.end();
  }

  /** The sessions of a Registry are gone with all they held. */
  lose(registry: FakeRegistry): void {
    for (const [name, { session }] of this.#held) if (session.registry === registry) this.#held.delete(name);
  }

  /** Answers one of them, the first unless said otherwise; not acknowledged yet when it returns. */
  answer(outcome: Outcome, choose: (names: string[]) => string = (names) => names[0]!, more = {}): Promise<void> {
    const name = choose(this.names);
    const { session, assignment } = this.#held.get(name)!;
    this.#held.delete(name);
    return session.answer(assignment, outcome, more);
  }
}

/** Reads the Dispatcher's tables. */
export async function query<Row>(world: World, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: world.databaseUrl, options: "-c search_path=dispatcher" });
  await client.connect();
  try {
    return (await client.query(text)).rows as Row[];
  } finally {
    await client.end();
  }
}

/** What each gate says that is held, beside what is queued and leased under it. */
export const counts = `
  select g.held, (
    select count(*)::int from (select lane_key from queue union all select lane_key from leases) x
    join lanes l using (lane_key) where g.gate_key = any(l.slot_gates)
  ) as counted
  from gates g where g.limit_name not like 'canary%'`;

/** Nothing is held by anybody, and nothing is left over. */
export async function assertNothingHeld(world: World): Promise<void> {
  const left = await waitFor(
    async () => {
      const [row] = await query<Record<string, number>>(
        world,
        `select (select coalesce(sum(held), 0)::int from gates) as held, (select count(*)::int from heads) as heads,
          (select count(*)::int from parked) as parked, (select count(*)::int from queue) as queue,
          (select count(*)::int from leases) as leases, (select count(*)::int from notes) as notes`,
      );
      return row!["heads"] === 0 && row!["notes"] === 0 && row;
    },
    { describe: "nothing to be parked" },
  );
  assert.deepEqual(left, { held: 0, heads: 0, parked: 0, queue: 0, leases: 0, notes: 0 });
}
