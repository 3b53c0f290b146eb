import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, type ConnectError } from "@connectrpc/connect";
import { TaskState, WhenLimited } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { tokens } from "../ratelimit/running.ts";
import { waitFor } from "../harness/wait-for.ts";
import { completed, createWorld, whenState, type RunningDispatcher, type World } from "./harness.ts";

let world: World;
let dispatcher: RunningDispatcher;

before(async () => {
  world = await createWorld();
  dispatcher = await world.dispatcher();
});
after(() => world[Symbol.asyncDispose]());

const per = { kind: { case: "user", value: true } } as const;

/** Until a Dispatcher holds a limit on the capability: it refuses what could never pass. */
async function whenHeld({ client }: RunningDispatcher, capability: string): Promise<void> {
  const task = { capability, costs: [{ amount: 1_000_000_000_000n }] };
  const isRefused = () =>
    client.submitTask({ task }).then(
      () => false,
      (error: ConnectError) => error.code === Code.InvalidArgument,
    );
  await waitFor(isRefused, { describe: `the limit on ${capability}` });
}

test("tasks over a rate limit wait in order, and another user's pass", async () => {
  const { client } = dispatcher;
  const limit = { name: "slow", selector: { capabilities: ["slow"] }, per: [per], kind: tokens(1, 100, 1) };
  await world.rateLimit.client.setLimit({ limit });
  const session = await (await world.registry(dispatcher)).attach({ capabilities: [{ name: "slow" }] });
  session.work = () => completed();
  await whenHeld(dispatcher, "slow");
  const ids = Array.from({ length: 10 }, (_, i) => `w${i}`);
  for (const taskId of ids) {
    await client.submitTask({ task: { taskId, capability: "slow", user: "ada", whenLimited: WhenLimited.WAIT } });
  }
  const waiting = await client.getTask({ taskId: "w9" });
  assert.match(
    waiting.task?.waitingReason ?? "",
    /the limit 'slow' for 'ada' is reached; next in 0\.\d s; \d tasks are before it/,
  );
  await client.runTask({ task: { capability: "slow", user: "bob", whenLimited: WhenLimited.WAIT } });
  for (const taskId of ids) await whenState(client, taskId, TaskState.COMPLETED);
  const order = session.got.map(({ taskId }) => taskId).filter((taskId) => taskId.startsWith("w"));
  assert.deepEqual(order, ids);
});
