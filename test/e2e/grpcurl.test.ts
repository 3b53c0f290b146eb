import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Finished, finish } from "../harness/run-program.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { goTools, whyNoGo } from "../tools/go-tools.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: nobody calls by grpcurl, for ${skip}`);

const dispatcher = "legion.dispatcher.v1.DispatcherService";
const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64");

describe("grpcurl knows of the contracts by reflection alone", { skip: skip ?? false, timeout: 120_000 }, () => {
  const stack = new AsyncDisposableStack();
  let mesh: Mesh;
  let program: string;
  before(async () => {
    program = join(await goTools("grpcurl"), "grpcurl");
    mesh = stack.use(await startMesh({ agents: true }));
  });
  after(() => stack.disposeAsync());

  const grpcurl = (...args: string[]): Promise<Finished> => finish(program, ["-plaintext", ...args]);
  const call = (method: string, request: unknown): Promise<Finished> =>
    grpcurl("-d", JSON.stringify(request), mesh.dispatcher.address, `${dispatcher}/${method}`);

  test("each service lists itself and health, and says that it serves", async () => {
    for (const [name, { address }] of Object.entries({
      "legion.registry.v1.RegistryService": mesh.registry,
      [dispatcher]: mesh.dispatcher,
      "legion.ratelimit.v1.RateLimitService": mesh.ratelimit,
      "legion.watchdog.v1.WatchdogService": mesh.watchdog,
    })) {
      const { stdout, stderr } = await grpcurl(address, "list");
      for (const each of [name, "grpc.health.v1.Health"]) assert.ok(stdout.split("\n").includes(each), stdout + stderr);
      const request = JSON.stringify({ service: name });
      const health = await grpcurl("-d", request, address, "grpc.health.v1.Health/Check");
      assert.deepEqual(JSON.parse(health.stdout), { status: "SERVING" }, health.stderr);
    }
  });

  test("describes a method and its message", async () => {
    const { stdout } = await grpcurl(mesh.dispatcher.address, "describe", `${dispatcher}.SubmitTask`);
    assert.match(stdout, /rpc SubmitTask \( \.legion\.dispatcher\.v1\.SubmitTaskRequest \)/);
    const message = await grpcurl(mesh.dispatcher.address, "describe", "legion.dispatcher.v1.TaskSpec");
    assert.match(message.stdout, / string task_id = 2;/);
  });

  test("runs a task, asks for it, and watches it to its end", async () => {
    const task = { task_id: "by-hand", capability: "greet", task_data: { data: base64({ name: "Ada" }) } };
    const run = await call("RunTask", { task });
    assert.equal(run.code, 0, run.stderr);
    const { data } = JSON.parse(run.stdout).task.outcome.completed.result as { data: string };
    assert.deepEqual(JSON.parse(Buffer.from(data, "base64").toString()), { greeting: "Hello, Ada!" });
    const got = await call("GetTask", { task_id: "by-hand" });
    assert.equal(JSON.parse(got.stdout).task.state, "TASK_STATE_COMPLETED", got.stderr);
    const watched = await call("WatchTask", { task_id: "by-hand" });
    assert.match(watched.stdout, /TASK_STATE_COMPLETED/, watched.stderr);
  });

  test("shows what was wrong with a request, and with which field", async () => {
    const { code, stderr } = await call("SubmitTask", { task: { capability: "no spaces here" } });
    assert.equal(code, 64 + 3, "64 and the code INVALID_ARGUMENT");
    assert.match(stderr, /Code: InvalidArgument/);
    assert.match(stderr, /google\.rpc\.BadRequest/);
    assert.match(stderr, /"field": "task\.capability"/);
    const unknown = await call("GetTask", { task_id: "nowhere" });
    assert.match(unknown.stderr, /Code: NotFound[\s\S]*"reason": "TASK_NOT_FOUND"/);
  });
});
