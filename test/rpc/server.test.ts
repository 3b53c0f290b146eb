import assert from "node:assert/strict";
import { once } from "node:events";
import { get as getRaw } from "node:http";
import type { IncomingMessage } from "node:http";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { errorReason } from "#libs/rpc/errors.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { HttpServer } from "#libs/rpc/http-server.ts";
import { PortTakenError } from "#libs/rpc/port-taken.ts";
import { openStream } from "#libs/rpc/grpc-client.ts";
import type { GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { connectErrorOf, Recorder, startEcho } from "./fixtures/echo.ts";
import type { EchoImpl } from "./fixtures/echo.ts";
import { EchoService } from "./fixtures/gen/legiontest/v1/echo_pb.ts";

const asIs = (bytes: Buffer) => bytes;

/** grpc.health.v1's answer: 1 is SERVING, 2 NOT_SERVING; -5 stands for NOT_FOUND. */
async function health(channel: GrpcChannel, service: string): Promise<number> {
  const request = Buffer.concat([Buffer.from([0x0a, service.length]), Buffer.from(service)]);
  return await new Promise((resolve) => {
    channel.raw.makeUnaryRequest("/grpc.health.v1.Health/Check", asIs, asIs, request, (error, response) => {
      resolve(error === null ? (response?.at(1) ?? 0) : -error.code);
    });
  });
}

/** One reflection request's answer, as the text in its bytes. */
async function reflect(channel: GrpcChannel, version: string, request: Buffer): Promise<string> {
  const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
  const call = channel.raw.makeBidiStreamRequest(path, asIs, asIs);
  call.end(request);
  const answers: Buffer[] = await call.toArray();
  return Buffer.concat(answers).toString("latin1");
}

async function rawHttp(port: number, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.end(request);
  let answer = "";
  socket.on("data", (chunk) => (answer += chunk.toString()));
  await once(socket, "close");
  return answer;
}

const shuttingDown = (error: unknown) => errorReason(error) === "SHUTTING_DOWN";

describe("servers", { timeout: 20_000 }, () => {
  test("tell health checks what serves, until they stop", async () => {
    await using echo = await startEcho({});
    const { typeName } = EchoService;
    assert.deepEqual([await health(echo.channel, ""), await health(echo.channel, typeName)], [1, 1]);
    assert.equal(await health(echo.channel, "other"), -5);
    echo.grpc.setServing(typeName, false);
    assert.deepEqual([await health(echo.channel, ""), await health(echo.channel, typeName)], [1, 2]);
  });

  test("describe themselves by reflection, v1 and v1alpha", async () => {
    await using echo = await startEcho({});
    const listServices = Buffer.from([0x3a, 0x01, 0x2a]);
    const symbol = "google.rpc.ErrorInfo";
    const fileContaining = Buffer.concat([Buffer.from([0x22, symbol.length]), Buffer.from(symbol)]);
    for (const version of ["v1", "v1alpha"]) {
      const services = await reflect(echo.channel, version, listServices);
      assert.match(services, /legiontest\.v1\.EchoService/);
      assert.match(services, /grpc\.health\.v1\.Health/);
      assert.match(await reflect(echo.channel, version, fileContaining), /error_details\.proto/);
      const healthFile = Buffer.from("\x22\x15grpc.health.v1.Health", "latin1");
      assert.match(await reflect(echo.channel, version, healthFile), /HealthCheckRequest.*HealthListResponse/s);
    }
  });

  test("say which port is taken", async () => {
    await using echo = await startEcho({});
    const { log } = new Recorder();
    for (const port of [echo.grpcPort, echo.httpPort]) {
      for (const Server of [GrpcServer, HttpServer]) {
        const server = new Server({ host: "127.0.0.1", port, log });
        const message = `Port ${port} on 127.0.0.1 is taken by another process.`;
        await assert.rejects(server.listen(), { name: "PortTakenError", message, host: "127.0.0.1", port });
        await server.shutdown();
      }
    }
    assert.ok(new PortTakenError("h", 1) instanceof Error);
  });

  test("refuse what they do not offer, with a reason", async () => {
    await using echo = await startEcho({ echo: ({ text }) => ({ text }) });
    await assert.rejects(echo.client.sum((async function* () {})()), (error) => errorReason(error) === "NOT_SUPPORTED");
    for (const [method, reason] of [
      ["Pipe", "STREAM_ONLY_ON_GRPC"],
      ["Chat", "STREAM_ONLY_ON_GRPC"],
    ] as const) {
      const response = await echo.post(method, "{}");
      assert.equal(response.status, 501);
      assert.equal(errorReason(await connectErrorOf(response)), reason);
      const streamed = await echo.post(method, "", "application/connect+json");
      assert.match(await streamed.text(), /unimplemented.*bidirectional stream/);
    }
  });

  test("answer probes, routes and lost callers on the HTTP port", async () => {
    let problems = ["start: waiting for the database"];
    const { log, logged } = new Recorder();
    await using server = new HttpServer({
      host: "127.0.0.1",
      port: 0,
      log,
      problems: () => problems,
      allowedOrigins: ["https://console.example"],
    });
    server.mount(EchoService, {}).route("/metrics", (_request, response) => void response.end("up 1\n"));
    server.route("/broken", () => {
      throw new Error("secret");
    });
    const url = `http://127.0.0.1:${await server.listen()}`;
    const get = async (path: string) => {
      const response = await fetch(url + path);
      return [response.status, await response.text()];
    };
    assert.deepEqual(await get("/healthz"), [200, "ok\n"]);
    assert.deepEqual(await get("/readyz?verbose"), [503, "start: waiting for the database\n"]);
    const tooEarly = await fetch(`${url}/legiontest.v2.EchoService/Echo`, { method: "POST" });
    assert.deepEqual([tooEarly.status, await tooEarly.text()], [503, "start: waiting for the database\n"]);
    problems = [];
    assert.deepEqual(await get("/readyz"), [200, "ready\n"]);
    assert.deepEqual(await get("/metrics"), [200, "up 1\n"]);
    const asked = async (host: string) => {
      const request = getRaw({
        port: Number(new URL(url).port),
        host: "127.0.0.1",
        path: "/legiontest.v1.EchoService/Echo",
        headers: { host },
      });
      const [response] = (await once(request, "response")) as [IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    const hosts = ["evil.example", "127.0.0.1.evil.example:80", "localhost:1", "[::1]:7412", "console.example"];
    assert.deepEqual(await Promise.all(hosts.map(asked)), [403, 403, 405, 405, 405]);
    const [status, text] = await get("/nothing");
    assert.equal(status, 404);
    assert.match(String(text), /^Nothing at \/nothing\. .*POST.*\n$/);
    assert.deepEqual(await get("/legiontest.v1.EchoService/Echo"), [
      405,
      "Send a POST with Content-Type: application/json.\n",
    ]);
    assert.deepEqual(await get("/broken"), [500, "The service failed; its log says why.\n"]);
    assert.equal(logged.length, 1);
  });

  test("survive HTTP that is none, or half", async () => {
    await using echo = await startEcho({ echo: ({ text }) => ({ text }) });
    const path = "/legiontest.v1.EchoService/Echo";
    const head = "Content-Type: application/json\r\nContent-Length: 12\r\n";
    assert.match(await rawHttp(echo.httpPort, "\0\0\0garbage\r\n\r\n"), /^HTTP\/1.1 400/);
    assert.match(await rawHttp(echo.httpPort, `POST ${path} HTTP/1.0\r\n${head}\r\n{"text":"a"}`), / 200 /);
    assert.match(
      await rawHttp(echo.httpPort, `POST ${path} HTTP/1.1\r\nHost: a b\r\n${head}\r\n{"text":"a"}`),
      / 403 /,
    );
    await rawHttp(echo.httpPort, `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${head}\r\n{"te`);
    await rawHttp(echo.grpcPort, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await echo.client.echo({ text: "alive" })).text, "alive");
    assert.equal((await echo.post("Echo", "{}")).status, 200);
    assert.deepEqual(echo.recorder.logged, []);
  });

  test("let open calls end within their grace, and cut those that do not", async () => {
    const entered = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const finish = Promise.withResolvers<void>();
    const impl: EchoImpl = {
      echo: async ({ priority }) => {
        entered[priority === 0 ? 0 : 1].resolve();
        await (priority === 0 ? finish.promise : new Promise(() => {}));
        return { text: "done" };
      },
    };
    await using patient = await startEcho(impl);
    const ending = patient.client.echo({ priority: 0 });
    await entered[0].promise;
    const stopped = patient.grpc.shutdown({ graceMs: 60_000 });
    finish.resolve();
    assert.equal((await ending).text, "done");
    await stopped;

    const accepted = Promise.withResolvers<void>();
    await using hasty = await startEcho(impl, () => accepted.resolve());
    const overGrpc = assert.rejects(hasty.client.echo({ priority: 1 }), shuttingDown);
    const stream = openStream(hasty.channel, EchoService.method.pipe);
    const closed = new Promise((resolve) => stream.onClose(resolve));
    stream.onMessage(() => {});
    stream.write({});
    await entered[1].promise;
    const overHttp = assert.rejects(hasty.post("Echo", '{"priority": 1}'));
    await accepted.promise;
    await Promise.all([hasty.grpc.shutdown({ graceMs: 0 }), overGrpc]);
    assert.ok(shuttingDown(await closed));
    await Promise.all([hasty.http.shutdown({ graceMs: 0 }), overHttp]);
  });
});
