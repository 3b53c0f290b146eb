import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Recorder } from "./fixtures/echo.ts";
import { EchoService } from "./fixtures/gen/legiontest/v1/echo_pb.ts";

/** Replicas that answer with their own numbers. */
async function startReplicas(count: number) {
  const { log } = new Recorder();
  await using undo = new AsyncDisposableStack();
  const servers: GrpcServer[] = [];
  const addresses: string[] = [];
  for (let number = 0; number < count; number++) {
    const server = undo.use(new GrpcServer({ host: "127.0.0.1", port: 0, log }));
    server.mount(EchoService, { echo: () => ({ text: String(number) }) });
    servers.push(server);
    addresses.push(`127.0.0.1:${await server.listen()}`);
  }
  const stack = undo.move();
  return { servers, addresses, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** How many of these calls, one after the other, each replica answered. */
async function answersOf(channel: GrpcChannel, calls: number): Promise<Record<string, number>> {
  const client = createClient(EchoService, channel);
  const counts: Record<string, number> = {};
  for (let call = 0; call < calls; call++) {
    const { text } = await client.echo({});
    counts[text] = (counts[text] ?? 0) + 1;
  }
  return counts;
}

/** A name that stands for these addresses, as a headless Service's does. */
const nameOf = (addresses: readonly string[]): string => `ipv4:${addresses.join(",")}`;

test("of several targets each call takes the next, and passes by one that has failed", async () => {
  await using replicas = await startReplicas(3);
  await using channel = new GrpcChannel(replicas.addresses);
  assert.deepEqual(await answersOf(channel, 30), { 0: 10, 1: 10, 2: 10 });
  await replicas.servers[1]?.shutdown({ graceMs: 0 });
  const client = createClient(EchoService, channel);
  await waitFor(
    () =>
      client.echo({}).then(
        () => false,
        () => true,
      ),
    { describe: "the call that finds the replica gone" },
  );
  assert.deepEqual(Object.keys(await answersOf(channel, 30)), ["0", "2"]);
  assert.equal(channel.state, "ready");
});

test("balanced per call, a name's addresses take turns", async () => {
  await using replicas = await startReplicas(3);
  await using channel = new GrpcChannel(nameOf(replicas.addresses), { balance: "per-call" });
  // The first goes out when the first connection is there, so the others may join later.
  await waitFor(async () => Object.keys(await answersOf(channel, 6)).length === 3, { describe: "all three replicas" });
  assert.deepEqual(await answersOf(channel, 30), { 0: 10, 1: 10, 2: 10 });
});

test("balanced per channel, each channel keeps to one address, and not all to the same", async () => {
  await using replicas = await startReplicas(3);
  const chosen = new Set<string>();
  // That 40 channels choose the same of three by chance: 3^-39.
  for (let each = 0; each < 40; each++) {
    await using channel = new GrpcChannel(nameOf(replicas.addresses));
    const answered = Object.keys(await answersOf(channel, 3));
    assert.equal(answered.length, 1);
    chosen.add(answered[0]!);
  }
  assert.ok(chosen.size > 1, `all chose ${[...chosen].join()}`);
});
