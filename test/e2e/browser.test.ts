import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Code, type ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "#libs/proto/google/rpc/error_details_pb.ts";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";

// What a page does, by the same library and on the same HTTP/1.1, only that Node's sockets carry it.
const page = "https://console.example";
const stack = new AsyncDisposableStack();
let mesh: Mesh;

before(async () => {
  mesh = stack.use(await startMesh({ agents: true, env: { ALLOWED_ORIGINS: page } }));
});
after(() => stack.disposeAsync());

const transports: Record<string, (baseUrl: string) => Transport> = {
  "Connect with JSON": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  "Connect with binary": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: true }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
};

const bytes = (data: object): Uint8Array => Buffer.from(JSON.stringify(data));

for (const [name, transport] of Object.entries(transports)) {
  describe(name, () => {
    const tasks = () => createClient(DispatcherService, transport(mesh.dispatcher.httpAddress));

    test("runs a task", async () => {
      const { task } = await tasks().runTask({
        task: { capability: "greet", taskData: { data: bytes({ name: "страна 🦉" }) } },
      });
      assert.equal(task?.state, TaskState.COMPLETED);
      assert.equal(task.outcome?.kind.case, "completed");
      const result = Buffer.from(task.outcome.kind.value.result?.data ?? []).toString();
      assert.match(result, /страна 🦉/);
    });

    test("watches a task until its outcome", async () => {
      const client = tasks();
      const { taskId } = await client.submitTask({
        task: { capability: "sleep", taskData: { data: bytes({ ms: 300 }) } },
      });
      assert.ok(taskId !== undefined && taskId !== "");
      const states: TaskState[] = [];
      let outcome;
      for await (const { event } of client.watchTask({ taskId })) {
        if (event !== undefined) states.push(event.state);
        outcome = event?.outcome?.kind.case;
      }
      assert.equal(outcome, "completed");
      assert.ok(states.length >= 2, "it is told of while it happens");
      assert.equal(states.at(-1), TaskState.COMPLETED);
    });

    test("lists the agents", async () => {
      const client = createClient(RegistryService, transport(mesh.registry.httpAddress));
      const { agents, activeAgents } = await client.listAgents({});
      assert.ok(activeAgents > 0);
      assert.ok(agents.some(({ capabilities }) => capabilities.some((each) => each.name === "greet")));
    });

    test("is told the reason of a refusal", async () => {
      await assert.rejects(
        tasks().runTask({ task: { capability: "greet", taskData: { data: Buffer.from("[1]") } } }),
        (error: ConnectError) => {
          assert.equal(error.code, Code.InvalidArgument);
          assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "TASK_DATA_NOT_OBJECT");
          return true;
        },
      );
    });
  });
}

test("a page of an allowed origin runs a task by fetch alone, as docs/agents.md has it", async () => {
  const call = (origin: string, method = "POST") =>
    fetch(`${mesh.dispatcher.httpAddress}/legion.dispatcher.v1.DispatcherService/RunTask`, {
      method,
      headers: { "content-type": "application/json", origin, "access-control-request-method": "POST" },
      body:
        method === "POST"
          ? JSON.stringify({ task: { capability: "greet", taskData: { data: btoa('{"name":"Ada"}') } } })
          : null,
    });
  const asked = await call(page, "OPTIONS");
  assert.deepEqual([asked.status, asked.headers.get("access-control-allow-origin")], [204, page]);
  const answer = await call(page);
  assert.equal(answer.headers.get("access-control-allow-origin"), page);
  const { task } = (await answer.json()) as { task: { outcome: { completed: { result: { data: string } } } } };
  assert.match(atob(task.outcome.completed.result.data), /Ada/);
  assert.equal((await call("https://evil.example", "OPTIONS")).headers.get("access-control-allow-origin"), null);
});
