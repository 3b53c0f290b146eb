import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Code } from "@connectrpc/connect";
import type { ConnectError } from "@connectrpc/connect";
import { createClient as createConnectClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { errorReason, isUnavailable, legionError } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { peerOf } from "#libs/rpc/handler.ts";
import { Recorder, startEcho } from "./fixtures/echo.ts";
import type { EchoImpl } from "./fixtures/echo.ts";
import { EchoService } from "./fixtures/gen/legiontest/v1/echo_pb.ts";

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return await call.then(
    () => assert.fail("must fail"),
    (error: ConnectError) => error,
  );
}

async function* numbers(...given: number[]) {
  for (const number of given) yield { number };
}

/** Goes on after the server has answered, and never ends. */
async function* endlessTexts() {
  yield* [{ text: "a" }, { text: "b" }, { text: "bye" }];
  await new Promise(() => {});
}

async function* failingNumbers() {
  yield { number: 1 };
  throw new RangeError("no more numbers");
}

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  return await Array.fromAsync(messages);
}

/** Never answers; tells how its signal was aborted. */
function hanging() {
  const entered = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<unknown>();
  const echo: NonNullable<EchoImpl["echo"]> = (_request, { signal }) => {
    signal.addEventListener("abort", () => aborted.resolve(signal.reason), { once: true });
    entered.resolve();
    return new Promise(() => {});
  };
  return { echo, entered: entered.promise, aborted: aborted.promise };
}

const everyKind: EchoImpl = {
  echo: ({ text }, context) => {
    context.responseHeader.set("x-peer", peerOf(context));
    context.responseTrailer.set("x-left", "3");
    return { text, header: context.requestHeader.get("x-asked") ?? "" };
  },
  async *count({ until }) {
    for (let number = 1; number <= until; number += 1) yield { number };
    if (until === 3) throw legionError("TASK_NOT_FOUND", "three is the end");
  },
  sum: async (requests) => {
    let total = 0;
    for await (const { number } of requests) total += number;
    return { total };
  },
  async *chat(requests) {
    for await (const { text } of requests) {
      if (text === "bye") return;
      yield { text };
    }
  },
};

describe("clients", { timeout: 20_000 }, () => {
  test("speak every kind of method, the same handler on gRPC and on Connect", async () => {
    await using echo = await startEcho(everyKind);
    const baseUrl = `http://127.0.0.1:${echo.httpPort}`;
    const overHttp = createConnectClient(EchoService, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
    for (const client of [echo.client, overHttp]) {
      const headers = new Headers();
      const response = await client.echo(
        { text: "hé" },
        {
          headers: { "x-asked": "yes" },
          onHeader: (given) => headers.set("peer", given.get("x-peer") ?? ""),
          onTrailer: (given) => headers.set("left", given.get("x-left") ?? ""),
        },
      );
      assert.deepEqual([response.text, response.header, headers.get("left")], ["hé", "yes", "3"]);
      assert.match(headers.get("peer") ?? "", /^127\.0\.0\.1:\d+$/);
      const counted = await collect(client.count({ until: 2 }));
      assert.deepEqual(
        counted.map(({ number }) => number),
        [1, 2],
      );
      assert.equal((await client.sum(numbers(1, 2, 3))).total, 6);
      const seen: number[] = [];
      const reading = (async () => {
        for await (const { number } of client.count({ until: 3 })) seen.push(number);
      })();
      assert.equal(errorReason(await failureOf(reading)), "TASK_NOT_FOUND");
      assert.deepEqual(seen, [1, 2, 3], "what came before the error is not lost");
      assert.equal(errorReason(await failureOf(collect(client.count({ until: -1 })))), "INVALID_REQUEST");
    }
    const answers = await collect(echo.client.chat(endlessTexts()));
    assert.deepEqual(
      answers.map(({ text }) => text),
      ["a", "b"],
    );
  });

  test("cancel the handler when aborted, when out of time and when a loop is left", async () => {
    const first = hanging();
    await using echo = await startEcho(first);
    const controller = new AbortController();
    const call = failureOf(echo.client.echo({}, { signal: controller.signal }));
    await first.entered;
    controller.abort();
    assert.equal((await call).code, Code.Canceled);
    await first.aborted;
    assert.equal((await failureOf(echo.client.echo({}, { signal: controller.signal }))).code, Code.Canceled);

    const second = hanging();
    await using slow = await startEcho(second);
    assert.equal((await failureOf(slow.client.echo({}, { timeoutMs: 50 }))).code, Code.DeadlineExceeded);
    await second.aborted;

    const left = Promise.withResolvers<void>();
    await using endless = await startEcho({
      async *count() {
        try {
          for (let number = 1; ; number += 1) yield { number };
        } finally {
          left.resolve();
        }
      },
    });
    for await (const { number } of endless.client.count({})) if (number === 5) break;
    await left.promise;
    const stop = new AbortController();
    const reading = (async () => {
      for await (const { number } of endless.client.count({}, { signal: stop.signal })) if (number === 5) stop.abort();
    })();
    assert.equal((await failureOf(reading)).code, Code.Canceled);
    assert.deepEqual(
      [echo, slow, endless].flatMap(({ recorder }) => recorder.logged),
      [],
    );
  });

  test("pass on what their own requests throw", async () => {
    await using echo = await startEcho(everyKind);
    await assert.rejects(echo.client.sum(failingNumbers()), RangeError);
  });

  test("fail with UNAVAILABLE where nobody listens, and find a restarted server", async () => {
    const { log } = new Recorder();
    const start = async (port: number) => {
      const server = new GrpcServer({ host: "127.0.0.1", port, log });
      return { server, port: await server.mount(EchoService, everyKind).listen() };
    };
    const { server, port } = await start(0);
    await using channel = new GrpcChannel(`127.0.0.1:${port}`);
    const client = createClient(EchoService, channel);
    assert.equal(channel.state, "idle");
    await client.echo({});
    assert.equal(channel.state, "ready");
    await server.shutdown({ graceMs: 0 });
    assert.ok(isUnavailable(await failureOf(client.echo({}))));
    await using stack = new AsyncDisposableStack();
    stack.use((await start(port)).server);
    let answered = false;
    for (const startedMs = Date.now(); !answered && Date.now() - startedMs < 10_000;) {
      answered = await client.echo({}).then(
        () => true,
        (error) => !isUnavailable(error),
      );
    }
    assert.ok(answered);
    channel.close();
    assert.equal(channel.state, "closed");
    assert.ok(isUnavailable(await failureOf(client.echo({}))));
    assert.ok(isUnavailable(await failureOf(collect(client.count({})))));
  });
});
