import assert from "node:assert/strict";
import { after, test } from "node:test";
import { IncidentAction, VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { executed, runWatchdog } from "./running.ts";

const database = await testDatabase();
const watchdog = await runWatchdog(database.connectionString);
const { client } = watchdog;
const pool = new ConnectionPool({ connectionString: database.connectionString, schema: "watchdog", max: 1 });
after(async () => {
  await pool[Symbol.asyncDispose]();
  await watchdog[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const refusedWith = (reason: string) => (error: unknown) => {
  assert.equal(errorReason(error), reason, String(error));
  return true;
};
const stored = prepared<{ count: number }>(
  "stored",
  "select count(*)::int4 as count from samples join subjects using (subject_id) where namespace = $1",
);
const storedIn = async (namespace: string): Promise<number> => (await pool.run(stored, [namespace]))[0]!.count;

test("a slow version: its agents' rollback is advised, and one incident is recorded for its trial", async () => {
  const namespace = "slow";
  const old = { namespace, agentId: "a1", version: "1", durationMs: 10 };
  const next = { namespace, agentId: "a2", version: "2", durationMs: 30 };
  await assert.rejects(client.shouldRollback({ namespace, agentId: "a2" }), refusedWith("AGENT_NOT_FOUND"));
  await client.trackExecutions({ samples: executed(old, 60) });
  const both = (count: number) => executed(next, count).flatMap((sample) => [sample, ...executed(old, 1)]);
  await client.trackExecutions({ samples: both(3) });
  const early = await client.shouldRollback({ namespace, agentId: "a2" });
  assert.equal(early.shouldRollback, false);
  assert.equal(early.verdict!.kind, VerdictKind.UNDECIDED);
  await client.trackExecutions({ samples: both(60) });

  const { shouldRollback, reason, verdict } = await client.shouldRollback({ namespace, agentId: "a2" });
  assert.equal(shouldRollback, true);
  assert.match(reason, /^Version 2 of greeter .*3 times/);
  assert.equal(verdict!.kind, VerdictKind.SLOWER);
  assert.equal(verdict!.evidence!.controlVersion, "1");
  assert.ok(Math.abs(verdict!.evidence!.durationRatio! - 3) < 0.001);
  assert.equal((await client.shouldRollback({ namespace, agentId: "a1" })).shouldRollback, false);

  const { verdicts } = await client.listVerdicts({ namespace });
  assert.deepEqual(
    verdicts.map(({ version, kind, capability }) => [version, kind, capability]),
    [
      ["1", VerdictKind.HEALTHY, "greet"],
      ["2", VerdictKind.SLOWER, "greet"],
    ],
  );
  const { reports } = await client.describeVersions({ namespace, name: "greeter" });
  assert.deepEqual(
    reports.map(({ version, executions, recentFailures, p95 }) => [version, executions, recentFailures, p95?.nanos]),
    [
      ["1", 123n, 0, 10_000_000],
      ["2", 63n, 0, 30_000_000],
    ],
  );
  const { incidents } = await client.listIncidents({ namespace, name: "greeter" });
  assert.equal(incidents.length, 1);
  assert.equal(incidents[0]!.action, IncidentAction.RECORDED, "there is no Registry that could act");
  assert.equal(incidents[0]!.verdict!.version, "2");
  assert.match(incidents[0]!.summary, /3 times/);

  await using restarted = await runWatchdog(database.connectionString);
  await restarted.client.trackExecutions({ samples: both(20) });
  assert.equal((await restarted.client.shouldRollback({ namespace, agentId: "a2" })).shouldRollback, true);
  assert.equal((await restarted.client.listIncidents({ namespace })).incidents.length, 1);
});

test("a batch is counted once, however often and however quickly it is sent", async () => {
  const namespace = "batches";
  const samples = executed({ namespace, agentId: "a" }, 10);
  await Promise.all(Array.from({ length: 5 }, () => client.trackExecutions({ samples, batchId: "once" })));
  await client.trackExecutions({ samples, batchId: "once" });
  await client.trackExecutions({ samples, batchId: "twice" });
  await client.trackExecutions({ samples });
  const { verdict } = await client.shouldRollback({ namespace, agentId: "a" });
  assert.equal(verdict!.evidence!.samples, 30n);
  assert.equal(await storedIn(namespace), 30);
});

test("the table is trimmed to what the rings hold, and a restart finds them as they were", async () => {
  const namespace = "rings";
  await client.trackExecutions({ samples: executed({ namespace, agentId: "a", version: "1" }, 2_500, 2_500) });
  await client.trackExecutions({ samples: executed({ namespace, agentId: "b", version: "2" }, 50, 40) });
  await client.trackExecutions({ samples: executed({ namespace, agentId: "raw", name: "", version: "" }, 30, 20) });
  await waitFor(async () => (await storedIn(namespace)) === 1_000 + 50 + 30, { describe: "the trimmed table" });
  const questions = async (of: typeof client) => {
    const answers = await Promise.all(["a", "b", "raw"].map((agentId) => of.shouldRollback({ namespace, agentId })));
    const { reports } = await of.describeVersions({ namespace, name: "greeter" });
    const counts = reports.map(({ version, recentExecutions, recentFailures, executions }) => {
      return [version, recentExecutions, recentFailures, executions];
    });
    return [...answers.map(({ shouldRollback, reason }) => [shouldRollback, reason]), ...counts];
  };
  const before = await questions(client);
  assert.deepEqual(before.slice(3), [
    ["1", 1_000, 1_000, 2_500n],
    ["2", 50, 40, 50n],
  ]);
  assert.match(String(before[0]![1]), /failed 100 %/);
  // Another replica, which reads what the first has written.
  await using other = await runWatchdog(database.connectionString);
  await waitFor(async () => assert.deepEqual(await questions(other.client), before) === undefined, {
    describe: "the same answers",
  });
});

test("two replicas: one judges what either was told, and when it goes the other goes on", async () => {
  const namespace = "pair";
  const own = await testDatabase();
  await using stack = new AsyncDisposableStack();
  stack.use(own);
  const first = await runWatchdog(own.connectionString);
  const second = stack.use(await runWatchdog(own.connectionString));
  const failing = { namespace, agentId: "a2", version: "2" };
  await first.client.trackExecutions({ samples: executed({ namespace, agentId: "a1" }, 60) });
  for (let i = 0; i < 3; i++) {
    await second.client.trackExecutions({ samples: executed(failing, 5, i === 0 ? 5 : 0) });
    await first.client.trackExecutions({ samples: executed({ namespace, agentId: "a1" }, 5) });
  }
  const judged = async (of: typeof client) => (await of.listVerdicts({ namespace })).verdicts.at(-1)?.evidence?.samples;
  assert.equal(await judged(first.client), 15n);
  await waitFor(async () => (await judged(second.client)) === 15n, { describe: "what the other judged" });
  await first[Symbol.asyncDispose]();
  await second.client.trackExecutions({ samples: executed(failing, 7) });
  await waitFor(async () => (await judged(second.client)) === 22n, { describe: "the second to lead" });
  const { reports } = await second.client.describeVersions({ namespace, name: "greeter" });
  assert.deepEqual(
    reports.map(({ executions }) => executions),
    [75n, 22n],
  );
});

test("an agent that memory has forgotten is read from the table", async () => {
  const namespace = "forgotten";
  await using small = await runWatchdog(database.connectionString, { AGENT_RINGS: "10" });
  await small.client.trackExecutions({ samples: executed({ namespace, agentId: "first", name: "" }, 30, 30) });
  for (let i = 0; i < 30; i++) {
    await small.client.trackExecutions({ samples: executed({ namespace, agentId: `agent-${i}` }, 1) });
  }
  const judged = async () => (await small.client.shouldRollback({ namespace, agentId: "first" })).shouldRollback;
  await waitFor(judged, { describe: "the verdict, which another replica reaches" });
});

test("incidents come in pages, newest first, and a token is good for its own question alone", async () => {
  const namespace = "pages";
  for (let i = 0; i < 5; i++) {
    await client.trackExecutions({ samples: executed({ namespace, agentId: `a${i}`, name: `n${i}` }, 20, 20) });
    await waitFor(async () => (await client.listIncidents({ namespace })).incidents.length === i + 1, {
      describe: "an incident",
    });
  }
  const names: string[] = [];
  let pageToken = "";
  let pages = 0;
  do {
    const page = await client.listIncidents({ namespace, pageSize: 2, pageToken });
    names.push(...page.incidents.map(({ verdict }) => verdict!.name));
    pageToken = page.nextPageToken;
    pages++;
  } while (pageToken !== "");
  assert.deepEqual([names, pages], [["n4", "n3", "n2", "n1", "n0"], 3]);

  const { nextPageToken } = await client.listIncidents({ namespace, pageSize: 2 });
  for (const wrong of [
    { namespace, name: "n1", pageToken: nextPageToken },
    { namespace: "other", pageToken: nextPageToken },
    { namespace, pageToken: "rubbish" },
    { namespace, pageToken: `${nextPageToken.slice(0, -4)}AAAA` },
  ]) {
    await assert.rejects(client.listIncidents(wrong), refusedWith("INVALID_REQUEST"));
  }
});

test("samples that cannot be are refused, and what is merely odd spoils nobody's batch", async () => {
  await assert.rejects(client.trackExecutions({ samples: [] }), refusedWith("INVALID_REQUEST"));
  await assert.rejects(client.trackExecutions({ samples: [{ agentId: "a" }] }), refusedWith("INVALID_REQUEST"));
  const [negative] = executed({ agentId: "a", durationMs: -1 }, 1);
  await assert.rejects(client.trackExecutions({ samples: [negative!] }), refusedWith("INVALID_REQUEST"));
  const odd = executed({ agentId: "odd\0agent", capability: "c\0" }, 2);
  await Promise.all([
    client.trackExecutions({ samples: odd, batchId: "b\0" }),
    client.trackExecutions({
      samples: executed({ agentId: "extreme", name: "odd" }, 1).map((sample) => ({
        ...sample,
        duration: { seconds: 315_576_000_000n, nanos: 0 },
        heapAfterCollectionBytes: 2n ** 63n - 1n,
        endTime: { seconds: -(2n ** 62n), nanos: 0 },
      })),
    }),
    client.trackExecutions({ samples: executed({ agentId: "well" }, 2) }),
  ]);
  assert.equal((await client.shouldRollback({ agentId: "well" })).verdict!.evidence!.samples, 2n);
  await assert.rejects(client.shouldRollback({ agentId: "odd\0agent" }), refusedWith("AGENT_NOT_FOUND"));
});
