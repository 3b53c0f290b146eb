import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { canceled, completed, createWorld, resultOf, SubmitStream, whenState } from "./harness.ts";

const offer = (...names: string[]) => ({ capabilities: names.map((name) => ({ name })) });
const refs = (...ids: string[]) => ids.map((taskId) => ({ taskId, attempt: 1 }));

describe("several Dispatchers on one database", { concurrency: true }, () => {
  test("a task submitted at one runs at another, and whoever waits is told, wherever it waits", async () => {
    await using world = await createWorld();
    const [a, b] = await Promise.all([world.dispatcher(), world.dispatcher()]);
    const session = await (await world.registry(b)).attach(offer("far"));
    const stream = new SubmitStream(a);
    stream.send([{ ref: 1n, task: { taskId: "far", capability: "far" } }]);
    const ran = a.client.runTask({ task: { taskId: "far", capability: "far" } });
    const ranAtB = b.client.runTask({ task: { taskId: "far", capability: "far" } });
    const watched = (async () => {
      let last;
      // At the other one it may not be there yet.
      await stream.results.next();
      for await (const { event } of a.client.watchTask({ taskId: "far" })) last = event;
      return last;
    })();
    await session.answer(await session.expect("far"), completed({ at: "b" }));
    assert.deepEqual(resultOf((await stream.outcomes.next()).outcome), { at: "b" });
    for (const told of [(await ran).task?.outcome, (await ranAtB).task?.outcome, (await watched)?.outcome]) {
      assert.deepEqual(resultOf(told), { at: "b" });
    }
    stream.end();
    assert.equal(await stream.closed, undefined);

    await a.client.submitTask({ task: { taskId: "stop", capability: "far" } });
    const assignment = await session.expect("stop");
    assert.equal((await a.client.cancelTask({ taskId: "stop", reason: "enough" })).state, TaskState.LEASED);
    assert.equal((await session.cancels.next()).reason, "enough");
    await session.answer(assignment, canceled());
    await whenState(a.client, "stop", TaskState.CANCELED);

    // Each takes what its sessions can do; nothing is taken twice.
    const other = await (await world.registry(a)).attach({ ...offer("both"), slots: 3 });
    const mine = await (await world.registry(b)).attach({ ...offer("both"), slots: 3 });
    other.work = mine.work = () => completed();
    const tasks = Array.from({ length: 300 }, (_, i) => ({
      ref: BigInt(i),
      task: { taskId: `both-${i}`, capability: "both" },
    }));
    const streams = [new SubmitStream(a), new SubmitStream(b)];
    // The same tasks come to both at the same time, in opposite order.
    streams[0]!.send(tasks);
    streams[1]!.send(tasks.toReversed());
    for (const each of streams) {
      const outcomes = await each.outcomes.take(tasks.length);
      assert.ok(outcomes.every(({ state }) => state === TaskState.COMPLETED));
      const results = await each.results.take(tasks.length);
      assert.ok(results.every(({ kind }) => kind.case === "accepted"));
      each.end();
    }
    const given = [...other.got, ...mine.got].map(({ taskId }) => taskId);
    assert.deepEqual([given.length, new Set(given).size], [300, 300], "each ran once");
    const metrics = await a.client.getMetrics({});
    assert.deepEqual([metrics.tasksSubmitted, metrics.tasksCompleted, metrics.tasksDispatched], [302n, 301n, 302n]);
  });

  test("a killed Dispatcher's sessions go on at another, and what no session comes back for is rescued", async () => {
    await using world = await createWorld({ env: { INSTANCE_LEASE: "1s" } });
    const [a, b] = await Promise.all([world.dispatcherProcess(), world.dispatcher()]);
    const registry = await world.registry(a);
    const survivor = await registry.attach({ ...offer("kill"), slots: 2 });
    for (const taskId of ["k-1", "k-2"]) await b.client.submitTask({ task: { taskId, capability: "kill" } });
    await survivor.assignments.take(2);
    const orphan = await registry.attach({ ...offer("kill"), slots: 2 });
    for (const taskId of ["k-3", "k-4"]) {
      const retryPolicy = { maxAttempts: taskId === "k-4" ? 1 : 2 };
      await b.client.submitTask({ task: { taskId, capability: "kill", retryPolicy } });
    }
    await orphan.assignments.take(2);
    const stream = new SubmitStream(b);
    stream.send(["k-1", "k-2"].map((taskId, ref) => ({ ref: BigInt(ref), task: { taskId, capability: "kill" } })));

    await a.process.kill();
    await registry.closed;
    const home = await world.registry(b);
    const back = await home.attach({ ...survivor.attach, inFlight: refs("k-1", "k-2") });
    assert.deepEqual(back.lost, []);
    assert.equal(resultOf((await whenState(b.client, "k-4", TaskState.DEAD)).outcome), "AGENT_LOST");
    const rescued = await whenState(b.client, "k-3", TaskState.QUEUED);
    assert.deepEqual([rescued.attempt, rescued.lastFailure?.code], [1, "AGENT_LOST"]);
    assert.equal(back.got.length, 0, "what runs is not given again");
    for (const ref of refs("k-1", "k-2")) await back.answer(ref, completed());
    await back.answer(await back.expect("k-3", 2), completed());
    assert.equal(
      (await stream.outcomes.take(2)).every(({ attempt }) => attempt === 1),
      true,
    );
    assert.equal((await whenState(b.client, "k-3", TaskState.COMPLETED)).attempt, 2);
  });

  test("a Dispatcher that ends in order loses nothing and costs no attempt, in the middle of work", async () => {
    await using world = await createWorld({ env: { INSTANCE_LEASE: "2s" } });
    const [a, b] = await Promise.all([world.dispatcher(), world.dispatcher()]);
    const link = await world.registry(a);
    const session = await link.attach({ ...offer("leave"), slots: 50 });
    // Every fifth is answered later, at the new home.
    session.work = ({ taskId }) => (Number(taskId) % 5 === 0 ? undefined : completed());
    const total = 1_000;
    const tasks = Array.from({ length: total }, (_, i) => ({
      ref: BigInt(i),
      task: { taskId: String(i), capability: "leave", retryPolicy: { maxAttempts: 1 } },
    }));
    const leaving = new SubmitStream(a);
    const load = (async () => {
      for (let sent = 0; sent < total; sent += 20) {
        leaving.send(tasks.slice(sent, sent + 20), { omitOutcomes: true });
        await Promise.race([leaving.results.take(20), leaving.closed]);
      }
    })();
    await session.whenGiven(150);
    const stopped = a.stop();
    await link.closing.promise;
    // As a Registry does: a new home at once, with all that is held; outcomes that are not acknowledged are sent again.
    const home = await world.registry(b);
    const inFlight = session.got.map(({ taskId, attempt }) => ({ taskId, attempt }));
    const back = await home.attach({ ...session.attach, inFlight });
    back.work = () => completed();
    for (const ref of inFlight) void back.answer(ref, completed());
    await Promise.all([stopped, load]);

    const staying = new SubmitStream(b);
    staying.send(tasks);
    for (const { taskId, state, attempt } of await staying.outcomes.take(total)) {
      assert.deepEqual([state, attempt], [TaskState.COMPLETED, 1], taskId);
    }
    const again = (await staying.results.take(total)).filter(
      ({ kind }) => kind.case === "accepted" && !kind.value.created,
    );
    assert.ok(again.length >= inFlight.length, "what was accepted by the one that left is known");
    assert.equal(back.rejections.size, 0);
    const { tasksSubmitted, tasksCompleted } = await b.client.getMetrics({});
    assert.deepEqual([tasksSubmitted, tasksCompleted], [BigInt(total), BigInt(total)]);
  });

  test("a session whose link is lost and that nobody brings back loses its work after the grace", async () => {
    await using world = await createWorld({ env: { SESSION_GRACE: "1s" } });
    const a = await world.dispatcher();
    const link = await world.registry(a);
    const session = await link.attach(offer("grace"));
    await a.client.submitTask({ task: { taskId: "grace", capability: "grace" } });
    await session.expect("grace");
    await link.drop();
    const next = await (await world.registry(a)).attach(offer("grace"));
    await next.answer(await next.expect("grace", 2), completed());
    assert.equal((await a.client.getTask({ taskId: "grace" })).task?.attempt, 2);
  });

  test("counters and queue outlive a restart, to the number", async () => {
    await using world = await createWorld();
    const before = await world.dispatcher();
    const link = await world.registry(before);
    await link.send({ agentCounts: { total: 7n, active: 3n } });
    const session = await link.attach({ ...offer("count"), slots: 4 });
    session.work = () => completed();
    for (let i = 0; i < 25; i++) await before.client.runTask({ task: { capability: "count" } });
    await before.client.submitTasks({ tasks: Array.from({ length: 5 }, () => ({ capability: "nobody" })) });
    await before.client.submitTask({ task: { taskId: "c", capability: "nobody" } });
    await before.client.cancelTask({ taskId: "c" });
    await before.client.submitTask({ task: { capability: "nobody", runTime: { seconds: 253_000_000_000n } } });
    const expected = await before.client.getMetrics({});
    assert.deepEqual(
      [
        expected.tasksSubmitted,
        expected.tasksDispatched,
        expected.tasksCompleted,
        expected.tasksCanceled,
        expected.tasksFailed,
      ],
      [32n, 25n, 25n, 1n, 0n],
    );
    assert.deepEqual(
      [expected.tasksQueued, expected.tasksScheduled, expected.tasksLeased, expected.totalAgents],
      [5n, 1n, 0n, 7n],
    );
    await before.stop();

    const after = await world.dispatcher();
    assert.deepEqual(await after.client.getMetrics({}), { ...expected, activeAgents: 0n });
    const again = await (await world.registry(after)).attach(offer("nobody"));
    assert.equal(
      (await again.assignments.take(5)).every(({ attempt }) => attempt === 1),
      true,
    );
    for (const one of again.got) await again.answer(one, completed());
    const { tasksCompleted, tasksDispatched } = await after.client.getMetrics({});
    assert.deepEqual([tasksCompleted, tasksDispatched], [30n, 30n]);
  });
});
