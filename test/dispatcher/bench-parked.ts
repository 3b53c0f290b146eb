// What 100,000 parked tasks of one user cost others: node test/dispatcher/bench-parked.ts
import { WhenLimited } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { tokens } from "../ratelimit/running.ts";
import { perUser, setLimits } from "./gates-world.ts";
import { completed, createWorld, SubmitStream, type RunningDispatcher, type Spec } from "./harness.ts";

const parked = 100_000;
const rounds = 11;
const tasksOfARound = 2_000;
const inFlight = 64;

const kind = tokens(1_000_000, 1_000, 1_000_000);
const slow = tokens(1, 86_400_000, 1);

async function start(): Promise<RunningDispatcher> {
  const world = await createWorld();
  const dispatcher = await world.dispatcher();
  const registry = await world.registry(dispatcher);
  const session = await registry.attach({ capabilities: [{ name: "free" }, { name: "limited" }], slots: 1_000 });
  session.work = () => completed();
  await setLimits(world, [dispatcher], [{ name: "wide", capability: "limited", per: [perUser], kind }]);
  await world.rateLimit.client.setLimit({ limit: { name: "ada", selector: { users: ["ada"] }, kind: slow } });
  return dispatcher;
}

/** Runs tasks, so many at a time; returns tasks a second and the milliseconds from submission to outcome. */
async function run(to: RunningDispatcher, task: Spec): Promise<{ perSecond: number; p50: number; p99: number }> {
  const stream = new SubmitStream(to);
  const begun = new Map<bigint, number>();
  const took: number[] = [];
  let next = 0;
  const submit = (): void => {
    const ref = BigInt(next++);
    begun.set(ref, performance.now());
    stream.send([{ ref, task }], { omitReceipts: true });
  };
  const startMs = performance.now();
  while (next < inFlight) submit();
  for (let i = 0; i < tasksOfARound; i++) {
    const { ref } = await stream.outcomes.next();
    took.push(performance.now() - begun.get(ref)!);
    if (next < tasksOfARound) submit();
  }
  const perSecond = tasksOfARound / ((performance.now() - startMs) / 1_000);
  stream.end();
  took.sort((a, b) => a - b);
  return { perSecond, p50: took[tasksOfARound >> 1]!, p99: took[Math.floor(tasksOfARound * 0.99)]! };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

// Two meshes, one with and one without, take turns: the machine has others on it, who disturb both alike.
const empty = await start();
const full = await start();
const stream = new SubmitStream(full);
for (let i = 0; i < parked; i += 500) {
  const tasks = Array.from({ length: 500 }, () => ({
    task: { capability: "limited", user: "ada", whenLimited: WhenLimited.WAIT },
  }));
  stream.send(tasks, { omitOutcomes: true });
  await stream.results.take(500);
}
console.log(`${(await full.client.getMetrics({})).tasksParked} are parked`);
const kinds = {
  "under no limit": { capability: "free", user: "bob" },
  "under a limit": { capability: "limited", user: "bob" },
};
for (const [name, task] of Object.entries(kinds)) {
  const pairs: Record<"with" | "without", Awaited<ReturnType<typeof run>>>[] = [];
  await run(empty, task);
  await run(full, task);
  for (let i = 0; i < rounds; i++) {
    const [first, second] = i % 2 === 0 ? [empty, full] : [full, empty];
    const [a, b] = [await run(first, task), await run(second, task)];
    pairs.push(i % 2 === 0 ? { without: a, with: b } : { without: b, with: a });
  }
  const show = (which: "without" | "with") =>
    `${median(pairs.map((pair) => pair[which].perSecond)).toFixed(0)} tasks/s, p50 ${median(pairs.map((pair) => pair[which].p50)).toFixed(1)} ms, ` +
    `p99 ${median(pairs.map((pair) => pair[which].p99)).toFixed(1)} ms`;
  const ratio = median(pairs.map((pair) => pair.with.perSecond / pair.without.perSecond));
  console.log(`${name}: without ${show("without")}; with ${show("with")}; median ratio of pairs ${ratio.toFixed(2)}`);
}
process.exit(0);
