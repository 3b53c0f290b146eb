import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { migrate } from "#libs/db/migrate.ts";
import { prepared } from "#libs/db/statement.ts";
import { forgetTakeovers, purgeTakeovers, takeoversTold } from "../../services/registry/sql/forget-takeovers.ts";
import { getAgent } from "../../services/registry/sql/get-agent.ts";
import { countAgents, listAgents } from "../../services/registry/sql/list-agents.ts";
import { listVersions } from "../../services/registry/sql/list-versions.ts";
import { type Opened, type Opening, openSessions } from "../../services/registry/sql/open-sessions.ts";
import { pollChanges } from "../../services/registry/sql/poll-changes.ts";
import { renewInstance } from "../../services/registry/sql/renew-instance.ts";
import { requestDrain } from "../../services/registry/sql/request-drain.ts";
import { saveSessions, type SessionState } from "../../services/registry/sql/save-sessions.ts";
import { setWeight } from "../../services/registry/core/rollout.ts";
import { changeVersions } from "../../services/registry/sql/change-versions.ts";
import { sweepSessions } from "../../services/registry/sql/sweep-sessions.ts";
import { testDatabase } from "../harness/postgres.ts";

const stack = new AsyncDisposableStack();
let pool: ConnectionPool;

before(async () => {
  const { connectionString } = stack.use(await testDatabase());
  const directory = fileURLToPath(new URL("../../services/registry/sql/migrations/", import.meta.url));
  await migrate(connectionString, { schema: "registry", directory });
  pool = stack.use(new ConnectionPool({ connectionString, schema: "registry", max: 4 }));
});
after(() => stack.disposeAsync());

const lease = 60_000;
const farAway = 3_600_000;

async function replica(): Promise<string> {
  const registryId = randomUUID();
  await renewInstance(pool, registryId, lease);
  return registryId;
}

const opening = (agentId: string, more: Partial<Opening> = {}): Opening => ({
  namespace: "default",
  agentId,
  name: "bee",
  version: "1",
  capabilities: '[{"name":"greet"}]',
  labels: "[]",
  slots: 4,
  sdk: "test",
  freshId: randomUUID(),
  resumeId: undefined,
  ...more,
});

async function open(registryId: string, agentId: string, more: Partial<Opening> = {}): Promise<Opened> {
  const [opened] = await openSessions(pool, registryId, [opening(agentId, more)]);
  assert.ok(opened);
  return opened;
}

const state = (agentId: string, { sessionId, epoch }: Opened, more: Partial<SessionState> = {}): SessionState => ({
  namespace: "default",
  agentId,
  sessionId,
  epoch,
  suspended: false,
  draining: false,
  endReason: undefined,
  ...more,
});

const takeoversOf = async (registryId: string) => (await pollChanges(pool, registryId, 0n, farAway)).takeovers;

test("a new session replaces the old one, and its holder can read that", async () => {
  const [a, b] = [await replica(), await replica()];
  const first = await open(a, "fence");
  assert.equal(first.resumed, false);
  assert.equal(first.previousSessionId, undefined);

  const second = await open(b, "fence");
  assert.equal(second.resumed, false);
  assert.equal(second.previousSessionId, first.sessionId);
  assert.equal(second.previousRegistryId, a);
  assert.deepEqual(await takeoversOf(a), [
    { sessionId: first.sessionId, epoch: second.epoch, kind: "fenced", mine: true, told: false },
  ]);

  const back = await openSessions(pool, a, [opening("fence", { resumeId: first.sessionId })]);
  assert.deepEqual(back, [undefined], "the replaced one does not take it back");

  // What the old holder still writes changes nothing.
  await saveSessions(pool, a, [state("fence", first, { endReason: "late" })]);
  const agent = await getAgent(pool, "default", "fence");
  assert.equal(agent?.state, 1);
  assert.equal(agent.session_id, second.sessionId);

  const others = await pollChanges(pool, b, 0n, 0);
  assert.deepEqual(
    others.takeovers.map(({ mine }) => mine),
    [false],
    "after the grace everybody sees it",
  );
  await takeoversTold(pool, others.takeovers);
  assert.deepEqual((await pollChanges(pool, b, 0n, 0)).takeovers, []);
  await purgeTakeovers(pool);
  assert.deepEqual(
    (await takeoversOf(a)).map(({ told }) => told),
    [true],
    "its holder must still learn of it",
  );
  await renewInstance(pool, a, -1);
  await purgeTakeovers(pool);
  assert.deepEqual(await takeoversOf(a), []);
});

test("a session moves with its agent, and keeps its id", async () => {
  const [a, b] = [await replica(), await replica()];
  const first = await open(a, "move");
  await saveSessions(pool, a, [state("move", first, { suspended: true })]);
  assert.equal((await getAgent(pool, "default", "move"))?.state, 3);

  const again = await open(b, "move", { resumeId: first.sessionId });
  assert.equal(again.resumed, true);
  assert.equal(again.sessionId, first.sessionId);
  assert.ok(again.epoch > first.epoch);
  assert.deepEqual(
    (await takeoversOf(a)).map(({ kind }) => kind),
    ["moved"],
  );
  await saveSessions(pool, a, [state("move", first, { endReason: "late" })]);
  assert.equal((await getAgent(pool, "default", "move"))?.state, 1);

  await saveSessions(pool, b, [state("move", again, { endReason: "the agent ended its stream" })]);
  const gone = await getAgent(pool, "default", "move");
  assert.equal(gone?.state, 4);
  assert.equal(gone.disconnect_reason, "the agent ended its stream");
  const late = await open(b, "move", { resumeId: first.sessionId });
  assert.equal(late.resumed, false, "an ended session is gone");
  assert.equal(late.previousSessionId, undefined);
});

test("sessions of a Registry whose lease ran out are ended by another", async () => {
  const [dead, alive] = [await replica(), await replica()];
  const lost = await open(dead, "lost");
  const kept = await open(alive, "kept");
  assert.equal(await sweepSessions(pool, 100), 0);
  await renewInstance(pool, dead, -1);
  assert.equal((await getAgent(pool, "default", "lost"))?.state, 3);

  assert.equal(await sweepSessions(pool, 100), 1);
  assert.equal(await sweepSessions(pool, 100), 0);
  assert.equal((await getAgent(pool, "default", "lost"))?.state, 4);
  assert.equal((await getAgent(pool, "default", "kept"))?.session_id, kept.sessionId);
  const { takeovers } = await pollChanges(pool, alive, 0n, farAway);
  const told = takeovers.find(({ sessionId }) => sessionId === lost.sessionId);
  assert.equal(told?.kind, "expired", "everybody is told at once");
  assert.equal((await takeoversOf(dead))[0]?.mine, true, "the holder too, should it live after all");
  await forgetTakeovers(pool, takeovers);
});

test("a drain asked for is seen by the holder until it has acted on it, and survives a resume", async () => {
  const [a, b] = [await replica(), await replica()];
  assert.equal(await requestDrain(pool, "default", "drain", "maintenance"), undefined);
  const opened = await open(a, "drain");
  assert.equal(await requestDrain(pool, "default", "drain", "maintenance"), a);
  assert.deepEqual((await pollChanges(pool, b, 0n, farAway)).drains, []);
  assert.deepEqual((await pollChanges(pool, a, 0n, farAway)).drains, [
    { sessionId: opened.sessionId, reason: "maintenance" },
  ]);
  await saveSessions(pool, a, [state("drain", opened, { draining: true })]);
  assert.deepEqual((await pollChanges(pool, a, 0n, farAway)).drains, []);
  assert.equal((await getAgent(pool, "default", "drain"))?.state, 2);

  const again = await open(b, "drain", { resumeId: opened.sessionId });
  assert.equal(again.draining, true);
  assert.equal(again.drainReason, "maintenance");
  const fresh = await open(b, "drain");
  assert.equal(fresh.draining, false);
  await saveSessions(pool, b, [state("drain", fresh, { endReason: "done" })]);
  assert.equal(await requestDrain(pool, "default", "drain", "again"), null);
});

test("a changed weight is seen by all who have not seen it, and by new sessions", async () => {
  const a = await replica();
  await open(a, "w1", { name: "weighted", version: "1" });
  await open(a, "w2", { name: "weighted", version: "2" });
  const weigh = (version: string) =>
    changeVersions(pool, "default", "weighted", ({ versions }) => setWeight(versions, version, 5));
  assert.deepEqual(await weigh("3"), { answer: "VERSION_NOT_FOUND", changed: false });
  assert.equal((await weigh("2")).changed, true);
  const { weights } = await pollChanges(pool, a, 0n, farAway);
  assert.equal(weights.length, 1);
  const [change] = weights;
  assert.deepEqual([change?.name, change?.version, change?.weight], ["weighted", "2", 5]);
  assert.deepEqual((await pollChanges(pool, a, change?.weightEpoch ?? 0n, farAway)).weights, []);
  const opened = await open(a, "w3", { name: "weighted", version: "2" });
  assert.equal(opened.weight, 5);
  assert.equal(opened.weightEpoch, change?.weightEpoch);
  const versions = await listVersions(pool, "default", "weighted");
  assert.deepEqual(
    versions.map(({ version, weight, sessions }) => ({ version, weight, sessions })),
    [
      { version: "2", weight: 5, sessions: 2 },
      { version: "1", weight: 100, sessions: 1 },
    ],
  );
});

test("an agent that never heard which session it got asks for the one before, and gets a session", async () => {
  const a = await replica();
  const ended = randomUUID();
  const unheard = await open(a, "unheard", { resumeId: ended });
  const again = await open(a, "unheard", { resumeId: ended });
  const heard = await open(a, "unheard", { resumeId: ended });
  assert.notEqual(heard.sessionId, ended);
  assert.deepEqual([again.previousSessionId, heard.previousSessionId], [unheard.sessionId, again.sessionId]);
});

test("five hundred agents open in one statement, and are listed by id, state and capability", async () => {
  const a = await replica();
  const many = Array.from({ length: 500 }, (_, i) =>
    opening(`many-${String(i).padStart(3, "0")}`, { namespace: "many" }),
  );
  const opened = (await openSessions(pool, a, many)).map((one) => one!);
  assert.equal(new Set(opened.map(({ sessionId }) => sessionId)).size, 500);
  assert.deepEqual(
    opened.map(({ sessionId }) => sessionId),
    many.map(({ freshId }) => freshId),
    "in the order given",
  );
  assert.deepEqual(await countAgents(pool, "many"), { total: 500, active: 500 });
  const filter = { namespace: "many", capability: "greet", states: [1], after: "many-100", limit: 3 };
  const page = await listAgents(pool, filter);
  assert.deepEqual(
    page.map(({ agent_id }) => agent_id),
    ["many-101", "many-102", "many-103"],
  );
  assert.deepEqual(await listAgents(pool, { ...filter, states: [4] }), []);
  assert.deepEqual(await listAgents(pool, { ...filter, capability: "gree" }), []);
});

test("two replicas that open the same agents at once never block each other", async () => {
  const [a, b] = [await replica(), await replica()];
  const shuffled = (reverse: boolean) => {
    const openings = Array.from({ length: 200 }, (_, i) => opening(`both-${i}`));
    return reverse ? openings.toReversed() : openings;
  };
  const rounds = Array.from({ length: 5 }, () => [
    openSessions(pool, a, shuffled(false)),
    openSessions(pool, b, shuffled(true)),
  ]);
  await Promise.all(rounds.flat());
  const holders = await pool.run(
    prepared<{ readonly holders: number }>(
      "t",
      "select count(*)::int4 as holders from sessions where agent_id like 'both-%'",
    ),
  );
  assert.equal(holders[0]?.holders, 200);
});
