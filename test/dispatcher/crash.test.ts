import assert from "node:assert/strict";
import { test } from "node:test";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { temporaryDirectory } from "../db/temporary-directory.ts";
import { waitFor } from "../harness/wait-for.ts";
import { completed, createWorld, SubmitStream } from "./harness.ts";

test("Postgres killed in the middle of work: what was accepted completes, each once, and the counters are exact", async () => {
  await using directory = await temporaryDirectory();
  await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
  await using world = await createWorld({ databaseUrl: postgres.connectionString });
  const dispatcher = await world.dispatcher();
  const session = await (await world.registry(dispatcher)).attach({ capabilities: [{ name: "crash" }], slots: 20 });
  session.work = ({ taskId }) => completed({ taskId });

  const accepted = new Set<string>();
  const finished = new Map<string, number>();
  let over = false;
  // Like the SDK: what is refused while the database is away is submitted again under its id, until it is accepted.
  const clients = Array.from({ length: 10 }, async (_, client) => {
    const stream = new SubmitStream(dispatcher);
    for (let i = 0; !over; i++) {
      const taskId = `${client}-${i}`;
      const submit = async (): Promise<boolean> => {
        stream.send([{ ref: 0n, task: { taskId, capability: "crash" } }]);
        const { kind } = await stream.results.next();
        return kind.case === "accepted";
      };
      await waitFor(submit, { describe: `task ${taskId} to be accepted`, timeoutMs: 40_000 });
      accepted.add(taskId);
      const { state } = await waitFor(() => stream.outcomes.next(), {
        describe: `task ${taskId} to end`,
        timeoutMs: 40_000,
      });
      assert.equal(state, TaskState.COMPLETED);
      finished.set(taskId, (finished.get(taskId) ?? 0) + 1);
    }
    stream.end();
    assert.equal(await stream.closed, undefined);
    assert.equal(stream.outcomes.size, 0, "each outcome is told once");
  });
  await waitFor(() => finished.size > 300, { describe: "300 tasks", timeoutMs: 30_000 });
  for (let round = 0; round < 2; round++) {
    const before = finished.size;
    await postgres.kill();
    // Not for a refusal: all clients may just then be waiting for outcomes.
    await waitFor(async () => (await fetch(`${dispatcher.httpUrl}/readyz`)).status === 503, { describe: "not ready" });
    assert.equal((await fetch(`${dispatcher.httpUrl}/healthz`)).status, 200);
    await postgres.restart();
    await waitFor(() => finished.size > before + 300, { describe: "300 more tasks", timeoutMs: 40_000 });
  }
  over = true;
  await Promise.all(clients);
  assert.equal(finished.size, accepted.size);
  const metrics = await dispatcher.client.getMetrics({});
  assert.deepEqual(
    [metrics.tasksSubmitted, metrics.tasksCompleted, metrics.tasksQueued, metrics.tasksLeased],
    [BigInt(accepted.size), BigInt(accepted.size), 0n, 0n],
  );
  // A statement whose answer was lost may have leased tasks that no agent was told of; those are given out again.
  assert.ok(metrics.tasksDispatched >= metrics.tasksCompleted);
  assert.equal(session.rejections.size, 0);
});
