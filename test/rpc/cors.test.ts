import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpServer } from "#libs/rpc/http-server.ts";
import { Recorder } from "./fixtures/echo.ts";
import { EchoService } from "./fixtures/gen/legiontest/v1/echo_pb.ts";

const page = "https://console.example";

async function start(allowedOrigins?: readonly string[]) {
  const { log } = new Recorder();
  const server = new HttpServer({ host: "127.0.0.1", port: 0, log, ...(allowedOrigins && { allowedOrigins }) });
  server.mount(EchoService, { echo: ({ text }) => ({ text }) });
  const url = `http://127.0.0.1:${await server.listen()}`;
  const ask = async (method: string, origin: string, path = "/legiontest.v1.EchoService/Echo") => {
    const headers = { "content-type": "application/json", "sec-fetch-mode": "cors", origin };
    // As a browser asks before a call that is not of the simplest kind.
    const asks = { ...headers, "access-control-request-method": "POST" };
    const body = method === "POST" ? '{"text":"a"}' : null;
    const response = await fetch(url + path, { method, body, headers: method === "OPTIONS" ? asks : headers });
    return {
      status: response.status,
      text: await response.text(),
      header: (name: string) => response.headers.get(name),
    };
  };
  return { ask, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("a page of an allowed origin may call and read everything that an answer says", async () => {
  await using server = await start([page, "http://localhost:5173"]);
  for (const origin of [page, "http://localhost:5173"]) {
    const asked = await server.ask("OPTIONS", origin);
    assert.deepEqual([asked.status, asked.header("access-control-allow-origin")], [204, origin]);
    assert.match(asked.header("access-control-allow-methods") ?? "", /POST/);
    assert.match(
      asked.header("access-control-allow-headers") ?? "",
      /Content-Type.*Connect-Protocol-Version.*X-Grpc-Web/,
    );
    const called = await server.ask("POST", origin);
    assert.deepEqual([called.status, called.text], [200, '{"text":"a"}']);
    assert.deepEqual([called.header("access-control-allow-origin"), called.header("vary")], [origin, "origin"]);
    assert.match(called.header("access-control-expose-headers") ?? "", /Grpc-Status/);
  }
});

test("a page of any other origin may not, and is told nothing", async () => {
  await using listed = await start([page]);
  await using closed = await start();
  for (const [server, origin] of [
    [listed, "https://evil.example"],
    [listed, "https://console.example.evil.example"],
    [listed, "null"],
    [closed, page],
  ] as const) {
    for (const method of ["OPTIONS", "POST"]) {
      const { header } = await server.ask(method, origin);
      assert.equal(header("access-control-allow-origin"), null, `${method} from ${origin}`);
    }
  }
});

test("any page may, where that is what the setting says", async () => {
  await using server = await start(["*"]);
  assert.equal((await server.ask("POST", page)).header("access-control-allow-origin"), "*");
});

test("only the services are for pages of others", async () => {
  await using server = await start(["*"]);
  assert.equal((await server.ask("GET", page, "/healthz")).header("access-control-allow-origin"), null);
});
