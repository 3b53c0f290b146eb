import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { Fleet, type Member } from "./fleet.ts";
import { languageNames } from "./language.ts";
import { allLanguages } from "./languages/index.ts";

const stack = new AsyncDisposableStack();
const members: Member[] = [];
let mesh: Mesh;

before(async () => {
  for (const language of await allLanguages()) {
    const why = language.whyNot();
    if (why === undefined) members.push({ language: language.name, programs: await language.prepare() });
    else console.error(`SKIPPED: there is no agent of ${language.name} in the fleet, for ${why}`);
  }
  // What a killed agent held waits for its lease, or for the new process of its id.
  mesh = stack.use(await startMesh({ env: { SESSION_LEASE: "3s", HEARTBEAT_INTERVAL: "500ms" } }));
});
after(() => stack.disposeAsync());

const callers = 48;
const limitMs = 60_000;

test("agents of all languages are killed under load: each task has one outcome", { timeout: 240_000 }, async () => {
  if (process.env["CI"] === "true") assert.equal(members.length, languageNames.length, "under CI=true all are there");
  const endpoints = { registry: [mesh.registry.address], dispatcher: [mesh.dispatcher.address] };
  await using fleet = new Fleet(members, 2, endpoints, ["echo", "sleep"]);
  await fleet.startAll();
  await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });

  const wrong: string[] = [];
  let given = 0;
  let goesOn = true;
  // More attempts than a task can be unlucky: one is used up when its agent is killed.
  const options = { timeoutMs: limitMs, retryPolicy: { maxAttempts: 10, initialDelayMs: 10 } };
  const run = (n: number, capability: string, data: object): Promise<unknown> =>
    core.dispatchTask(`fleet-${n}`, data, capability, options);
  const call = async (): Promise<void> => {
    while (goesOn) {
      const n = given++;
      const ms = 20 + (n % 300);
      const result = n % 4 === 0 ? run(n, "echo", { n }) : run(n, "sleep", { ms });
      const expected = n % 4 === 0 ? { n } : { slept: ms };
      try {
        assert.deepEqual(await result, expected);
      } catch (error) {
        wrong.push(`${n}: ${String(error)}`);
      }
    }
  };
  const load = Promise.all(Array.from({ length: callers }, call));
  // One after the other, and then one of each language at once.
  const [some, others] = [fleet.agentIds.filter((_, n) => n % 2 === 0), fleet.agentIds.filter((_, n) => n % 2 === 1)];
  for (const agentId of some) await fleet.replace(agentId);
  await Promise.all(others.map((agentId) => fleet.replace(agentId)));
  goesOn = false;
  await load;

  assert.deepEqual(wrong, []);
  const metrics = await core.getMetrics();
  assert.deepEqual(
    {
      completed: metrics.tasksCompleted,
      failed: metrics.tasksFailed,
      canceled: metrics.tasksCanceled,
      left: metrics.tasksQueued + metrics.tasksScheduled + metrics.tasksLeased,
    },
    { completed: given, failed: 0, canceled: 0, left: 0 },
  );
  assert.ok(metrics.tasksDispatched > given, "what killed agents held was given to others");
  assert.deepEqual(
    members.map(({ language }) => language).filter((language) => fleet.completedBy(language) === 0),
    [],
    "each language had its share",
  );
  assert.deepEqual(fleet.lost(), []);
});
