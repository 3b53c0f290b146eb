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

test("a slow version: its agents' rollback is advised, an incident begins, and ends when it is healthy again", async () => {
  const namespace = "slow";
  const old = { namespace, agentId: "a1", version: "1", durationMs: 10 };
  const next = { namespace, agentId: "a2", version: "2", durationMs: 30 };
  await assert.rejects(client.shouldRollback({ namespace, agentId: "a2" }), refusedWith("AGENT_NOT_FOUND"));
  await client.trackExecutions({ samples: [...executed(next, 1), ...executed(old, 60), ...executed(next, 11)] });
  const early = await client.shouldRollback({ namespace, agentId: "a2" });
  assert.equal(early.shouldRollback, false);
  assert.equal(early.verdict!.kind, VerdictKind.UNDECIDED);
  await client.trackExecutions({ samples: executed(next, 18) });

  const { shouldRollback, reason, verdict } = await client.shouldRollback({ namespace, agentId: "a2" });
  assert.equal(shouldRollback, true);
  assert.match(
    reason,
    /Version 2 of greeter takes 3 times \(3 to 3\) as long as version 1, by 1\d pairs of executions/,
  );
  assert.equal(verdict!.kind, VerdictKind.SLOWER);
  assert.ok(verdict!.evidence!.eValue! > 1_000);
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
  const newest = async () => (await client.listIncidents({ namespace, name: "greeter" })).incidents[0];
  const incident = await waitFor(newest, { describe: "an incident" });
  assert.equal(incident.action, IncidentAction.RECORDED);
  assert.equal(incident.verdict!.version, "2");
  assert.equal(incident.endTime, undefined);
  assert.match(incident.summary, /3 times .* as long/);

  await client.trackExecutions({ samples: executed({ ...next, durationMs: 9 }, 1_200) });
  await waitFor(async () => (await newest())!.endTime !== undefined, { describe: "the incident's end" });
  assert.equal((await client.listIncidents({ namespace })).incidents.length, 1);
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
  // Before the other version is known, beside which this one would not look bad.
  await waitFor(async () => (await client.listIncidents({ namespace })).incidents.length === 1, {
    describe: "the incident",
  });
  await client.trackExecutions({ samples: executed({ namespace, agentId: "b", version: "2" }, 50, 40) });
  await client.trackExecutions({ samples: executed({ namespace, agentId: "raw", name: "", version: "" }, 30, 20) });
  await waitFor(async () => (await storedIn(namespace)) === 1_000 + 50 + 30, { describe: "the trimmed table" });
  const questions = async (of: typeof client) => {
    const answers = await Promise.all(["a", "b", "raw"].map((agentId) => of.shouldRollback({ namespace, agentId })));
    return answers.map(({ shouldRollback, reason }) => [shouldRollback, reason]);
  };
  const before = await questions(client);
  assert.match(String(before[0]![1]), /failed 100 % of its newest executions/);
  await using restarted = await runWatchdog(database.connectionString);
  assert.deepEqual(await questions(restarted.client), before);
  // It judges anew, and the incident that is open stays the only one.
  await restarted.client.trackExecutions({ samples: executed({ namespace, agentId: "a", version: "1" }, 1, 1) });
  await waitFor(
    async () => /failed 100 %/.test((await restarted.client.listVerdicts({ namespace })).verdicts[0]!.summary),
    {
      describe: "a verdict",
    },
  );
  assert.equal((await client.listIncidents({ namespace })).incidents.length, 1);
});

test("an agent that memory has forgotten is read from the table", async () => {
  const namespace = "forgotten";
  await using small = await runWatchdog(database.connectionString, { AGENT_RINGS: "10" });
  await small.client.trackExecutions({ samples: executed({ namespace, agentId: "first", name: "" }, 30, 30) });
  for (let i = 0; i < 30; i++) {
    await small.client.trackExecutions({ samples: executed({ namespace, agentId: `agent-${i}` }, 1) });
  }
  const { shouldRollback, reason } = await small.client.shouldRollback({ namespace, agentId: "first" });
  assert.equal(shouldRollback, true);
  assert.match(reason, /failed 100 % of its newest executions/);
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
