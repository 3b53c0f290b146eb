import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { setImmediate as nextTick } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import type { ConnectError } from "@connectrpc/connect";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import { errorReason, isUnavailable, legionError } from "#libs/rpc/errors.ts";
import { GrpcChannel, openStream } from "#libs/rpc/grpc-client.ts";
import { startEcho } from "./fixtures/echo.ts";
import type { Pipe } from "./fixtures/echo.ts";
import { rawCall } from "./fixtures/raw-http2.ts";
import { EchoService } from "./fixtures/gen/legiontest/v1/echo_pb.ts";

const { pipe } = EchoService.method;
const kilobytes = (id: number, count: number) => ({ items: [{ id, data: new Uint8Array(count * 1024) }] });

/** Resolves with what onClose is told; `times` counts, so that twice is noticed. */
function closing(stream: Pick<DuplexStream<never, never>, "onClose">) {
  const { promise, resolve } = Promise.withResolvers<ConnectError | undefined>();
  const seen = { promise, times: 0 };
  stream.onClose((error) => {
    seen.times += 1;
    resolve(error);
  });
  return seen;
}

/** A pipe that hands its stream and how it closes to the test. */
function caught(set: (stream: Parameters<Pipe>[0]) => void = () => {}) {
  const { promise, resolve } = Promise.withResolvers<{ closed: ReturnType<typeof closing>; signal: AbortSignal }>();
  const handler: Pipe = (stream, { signal }) => {
    resolve({ closed: closing(stream), signal });
    set(stream);
  };
  return { handler, server: promise };
}

describe("streams", { timeout: 20_000 }, () => {
  test("carry messages both ways in order and close once, in order, on both sides", async () => {
    const { handler, server } = caught((stream) => stream.onMessage(({ items }) => stream.write({ items })));
    await using echo = await startEcho({}, handler);
    const stream = openStream(echo.channel, pipe);
    const closed = closing(stream);
    const ids: number[] = [];
    stream.onMessage(({ items }) => {
      ids.push(...items.map(({ id }) => id));
      if (ids.length === 300) stream.end();
    });
    for (let id = 0; id < 300; id += 1) stream.write({ items: [{ id }] });
    assert.equal(await closed.promise, undefined);
    assert.deepEqual(
      ids,
      Array.from({ length: 300 }, (_, id) => id),
    );
    const serverSide = await server;
    assert.equal(await serverSide.closed.promise, undefined);
    assert.ok(serverSide.signal.aborted);
    assert.deepEqual([stream.writable, stream.write({ items: [] }), closed.times], [false, false, 1]);
    assert.equal(await closing(stream).promise, undefined, "who asks later is told as well");
    assert.deepEqual(
      echo.recorder.calls.map(({ method, code }) => ({ method, code })),
      [{ method: "Pipe", code: "OK" }],
    );
  });

  for (const side of ["client", "server"] as const) {
    test(`tell the ${side} to stop when its peer does not read, and to go on when it does`, async () => {
      const opened = Promise.withResolvers<Parameters<Pipe>[0]>();
      await using echo = await startEcho({}, (stream) => opened.resolve(stream));
      const client = openStream(echo.channel, pipe);
      client.write({ items: [] });
      const server = await opened.promise;
      // Both sides send items, and only their directions differ.
      const [writer, reader] = side === "client" ? [client, server] : [server, client];
      let sent = 0;
      const fill = () => {
        do sent += 1;
        while (writer.write(kilobytes(sent, 16)));
      };
      writer.onDrain(fill);
      fill();
      // The sockets, the reader's window and its 16 waiting messages take some before the writer stands still.
      for (let before = -1; before !== sent;) {
        before = sent;
        for (let turn = 0; turn < 100; turn += 1) await nextTick();
      }
      assert.ok(writer.bufferedBytes > 128 * 1024, "the peer does not read, but everything was taken");
      assert.ok(sent < 200, `${sent} messages of 16 KiB went out to a peer that does not read`);
      let drained = false;
      writer.onDrain(() => (drained = true));
      const everything = Promise.withResolvers<void>();
      let received = side === "client" ? -1 : 0;
      reader.onMessage(() => {
        received += 1;
        if (received === sent) everything.resolve();
      });
      await everything.promise;
      assert.ok(drained);
      client.fail(legionError("SHUTTING_DOWN", "done"));
    });
  }

  test("that a server fails tell the client why, and deliver nothing more", async () => {
    let received = 0;
    const { handler, server } = caught((stream) =>
      stream.onMessage(() => {
        received += 1;
        stream.fail(legionError("SESSION_FENCED", "a newer session took over"));
        stream.write({ items: [] });
      }),
    );
    await using echo = await startEcho({}, handler);
    const stream = openStream(echo.channel, pipe);
    stream.onMessage(() => assert.fail("nothing was sent"));
    for (let id = 0; id < 10; id += 1) stream.write({ items: [{ id }] });
    const error = await closing(stream).promise;
    assert.equal(errorReason(error), "SESSION_FENCED");
    assert.equal(errorReason(await (await server).closed.promise), "SESSION_FENCED");
    assert.equal(received, 1);
    assert.deepEqual(
      echo.recorder.calls.map(({ code }) => code),
      ["ABORTED"],
    );
  });

  test("that a client cancels end on the server as canceled", async () => {
    const { handler, server } = caught((stream) => stream.onMessage(({ items }) => stream.write({ items })));
    await using echo = await startEcho({}, handler);
    const controller = new AbortController();
    const stream = openStream(echo.channel, pipe, { signal: controller.signal });
    const closed = closing(stream);
    stream.onMessage(() => controller.abort());
    stream.write({ items: [{ id: 1 }] });
    assert.equal((await closed.promise)?.code, Code.Canceled);
    const serverSide = await server;
    assert.equal((await serverSide.closed.promise)?.code, Code.Canceled);
    assert.deepEqual([closed.times, serverSide.closed.times], [1, 1]);
    const aborted = openStream(echo.channel, pipe, { signal: AbortSignal.abort() });
    assert.equal((await closing(aborted).promise)?.code, Code.Canceled);
  });

  test("whose owner throws end with INTERNAL, and the server lives on", async () => {
    const bug = new RangeError("secret");
    const { handler } = caught((stream) => {
      stream.onMessage(() => {
        throw bug;
      });
    });
    await using echo = await startEcho({ echo: ({ text }) => ({ text }) }, handler);
    const stream = openStream(echo.channel, pipe);
    stream.onMessage(() => {});
    stream.write({ items: [{ id: 1 }] });
    const error = await closing(stream).promise;
    assert.equal(errorReason(error), "INTERNAL");
    assert.doesNotMatch(String(error), /secret/);
    assert.deepEqual(
      echo.recorder.logged.map(({ fields }) => Reflect.get(fields, "err")),
      [bug],
    );
    assert.equal((await echo.client.echo({ text: "still here" })).text, "still here");
    const unsendable = openStream(echo.channel, pipe);
    assert.equal(unsendable.write({ items: [{ id: -1 }] }), false);
    assert.equal(errorReason(await closing(unsendable).promise), "INTERNAL");
  });

  test("end alone when bytes arrive that are no message", async () => {
    const { handler, server } = caught((stream) => stream.onMessage(({ items }) => stream.write({ items })));
    await using echo = await startEcho({ echo: ({ text }) => ({ text }) }, handler);
    const bystander = openStream(echo.channel, pipe);
    const garbage = Buffer.from("ffffffffffffffffffff0a", "hex");
    for (const method of ["Pipe", "Echo", "Sum"]) {
      using raw = rawCall(echo.grpcPort, method);
      raw.frame(garbage);
      if (method !== "Pipe") raw.call.end();
      raw.call.resume();
      assert.equal(Number(await raw.status), method === "Sum" ? Code.Unimplemented : Code.InvalidArgument, method);
    }
    assert.equal(errorReason(await (await server).closed.promise), "INVALID_REQUEST");
    using tooLong = rawCall(echo.grpcPort, "Pipe");
    tooLong.frame(garbage, 0, 0xffffffff);
    tooLong.call.resume();
    assert.equal(Number(await tooLong.status), Code.ResourceExhausted);
    using badlyPacked = rawCall(echo.grpcPort, "Pipe");
    badlyPacked.frame(garbage, 1);
    badlyPacked.call.resume();
    assert.notEqual(Number(await badlyPacked.status), 0);
    const answered = new Promise((resolve) => bystander.onMessage(resolve));
    bystander.write({ items: [{ id: 7 }] });
    await answered;
    assert.deepEqual(echo.recorder.logged, []);
    bystander.end();
  });

  test("whose server is killed close once with UNAVAILABLE", async () => {
    const child = spawn(process.execPath, [`${import.meta.dirname}/fixtures/echo-process.ts`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [port] = await once(createInterface(child.stdout), "line");
    await using channel = new GrpcChannel(`127.0.0.1:${port}`);
    const stream = openStream(channel, pipe);
    const closed = closing(stream);
    stream.onMessage(() => child.kill("SIGKILL"));
    stream.write({ items: [{ id: 1 }] });
    assert.ok(isUnavailable(await closed.promise));
    const refused = closing(openStream(channel, pipe));
    assert.ok(isUnavailable(await refused.promise));
    for (let turn = 0; turn < 20; turn += 1) await nextTick();
    assert.deepEqual([closed.times, refused.times], [1, 1]);
  });

  test("whose client vanishes close once on the server", async () => {
    const { handler, server } = caught((stream) => stream.onMessage(() => {}));
    await using echo = await startEcho({}, handler);
    const raw = rawCall(echo.grpcPort, "Pipe");
    raw.frame(new Uint8Array(0));
    const { closed } = await server;
    raw.call.session?.socket.destroy();
    assert.equal((await closed.promise)?.code, Code.Canceled);
    assert.equal(closed.times, 1);
  });

  test("are cut when a peer that does not read keeps the status from going out", async (t) => {
    const { handler } = caught((stream) => {
      while (stream.write(kilobytes(0, 64)));
      t.mock.timers.enable({ apis: ["setTimeout"] });
      stream.fail(legionError("SESSION_FENCED", "a newer session took over"));
    });
    await using echo = await startEcho({}, handler);
    using raw = rawCall(echo.grpcPort, "Pipe");
    await once(raw.call, "response");
    assert.equal(raw.call.closed, false);
    const closed = once(raw.call, "close");
    t.mock.timers.tick(5_000);
    raw.call.resume();
    await closed;
    assert.equal(raw.call.rstCode, 8);
  });
});
