import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TaskSpec, WhenLimited } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { completed, dataOf, failed } from "../client/payloads.ts";
import { StubDispatcher } from "../client/stub-dispatcher.ts";
import { freePortBase, freePorts } from "../harness/free-ports.ts";
import { runCli, spawnCli } from "../harness/run-cli.ts";
import type { CliOptions } from "../harness/run-cli.ts";
import { waitFor } from "../harness/wait-for.ts";

let stub: StubDispatcher;
let directory: string;
const specs = new Map<string, TaskSpec>();

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "legion-cli-"));
  stub = await StubDispatcher.start({
    play(spec) {
      specs.set(spec.taskId, spec);
      if (spec.capability === "nobody") return undefined;
      if (spec.capability === "fail") return failed("ValueError", "bad\u001b[31m name");
      return completed({ greeting: `Hello, ${String(dataOf(spec)["name"])}!` });
    },
    refuse: ({ capability }) =>
      capability === "strict"
        ? legionError("TASK_DATA_SCHEMA_MISMATCH", "task_data does not match", {
            violations: [{ field: "/name", description: "is required" }],
          })
        : undefined,
  });
});

after(async () => {
  await stub.down();
  await rm(directory, { recursive: true });
});

const legion = (args: string[], options: CliOptions = {}) =>
  runCli(args, { ...options, env: { ...stub.env, ...options.env } });

// Most of the time is processes starting.
const options = { concurrency: 3 };

describe("run", options, () => {
  test("prints the result alone", async () => {
    const { code, stdout, stderr } = await legion(["run", "greet", '{"name":"Ada"}']);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '{"greeting":"Hello, Ada!"}\n', stderr: "" });
  });

  test("takes its input from a file, from standard input, or does without", async () => {
    const file = join(directory, "in.json");
    await writeFile(file, '{"name":"file"}');
    assert.equal((await legion(["run", "greet", `@${file}`])).stdout, '{"greeting":"Hello, file!"}\n');
    assert.equal(
      (await legion(["run", "greet", "-"], { input: '{"name":"stdin"}\n' })).stdout,
      '{"greeting":"Hello, stdin!"}\n',
    );
    assert.equal((await legion(["run", "greet"])).stdout, '{"greeting":"Hello, undefined!"}\n');
  });

  test("hands every flag on", async () => {
    const args =
      "--task-id t-1 --priority -7 --timeout 1.5s --max-attempts 4 --user ada --label a=1 --label b=x=y --namespace acme --cost 5 --cost llm_tokens=900 --when-limited wait";
    assert.equal((await legion(["run", "greet", "{}", ...args.split(" ")])).code, 0);
    const task = specs.get("t-1");
    assert.deepEqual(
      [
        task?.priority,
        task?.retryPolicy?.maxAttempts,
        task?.user,
        task?.namespace,
        task?.labels.map(({ key, value }) => `${key}:${value}`),
        task?.costs.map(({ unit, amount }) => `${unit}:${amount}`),
        task?.whenLimited,
      ],
      [-7, 4, "ada", "acme", ["a:1", "b:x=y"], [":5", "llm_tokens:900"], WhenLimited.WAIT],
    );
  });

  test("--json prints the outcome as one document", async () => {
    const { code, stdout } = await legion(["run", "fail", "{}", "--task-id", "f-1", "--json"]);
    assert.equal(code, 1);
    assert.deepEqual(JSON.parse(stdout), {
      task_id: "f-1",
      state: "FAILED",
      attempt: 0,
      outcome: { failed: { code: "ValueError", message: "bad\u001b[31m name", retryable: false, caller_fault: false } },
    });
  });

  test("a task that failed is exit code 1, and a sentence that cannot harm the terminal", async () => {
    const { code, stdout, stderr } = await legion(["run", "fail"]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^legion: task [\w-]{36} failed: ValueError: bad\\x1b\[31m name\n$/);
  });

  test("what the mesh refuses is exit code 2, with each violation", async () => {
    const { code, stdout, stderr } = await legion(["run", "strict", "{}"]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /does not match\n {2}\/name: is required\n.*JSON Schema/);
  });

  const badInput: [string, string[], RegExp][] = [
    ["no JSON", ["{name}"], /line 1, column 2: expected a name in double quotes but found 'name}'/],
    ["an array", ["[1]"], /is an array, but a task's input must be a JSON object/],
    ["a missing file", ["@nowhere.json"], /nowhere\.json cannot be read: there is no such file/],
    ["a number without a unit", ["{}", "--timeout", "30"], /'30' is invalid.*write 30s or 30ms/],
    ["half a cost", ["{}", "--cost", "tokens=0.5"], /Expected a whole number or unit=number, such as llm_tokens=900/],
    ["a third way", ["{}", "--when-limited", "later"], /Allowed choices are refuse, wait/],
    ["too many attempts", ["{}", "--max-attempts", "101"], /Expected a whole number from 1 to 100/],
    ["an unknown flag", ["{}", "--prioritty", "1"], /unknown option '--prioritty'\n\(Did you mean --priority\?\)/],
    [
      "a file argument that is no file with --jsonl",
      ["{}", "--jsonl"],
      /With --jsonl the input is @file or standard input/,
    ],
  ];
  for (const [what, args, message] of badInput) {
    test(`${what} is exit code 2`, async () => {
      const { code, stdout, stderr } = await legion(["run", "greet", ...args]);
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, message);
    });
  }

  test("a file that is too large or no text is refused before it is sent", async () => {
    const file = join(directory, "large.json");
    await writeFile(file, Buffer.alloc(4 * 1024 * 1024, " "));
    assert.match((await legion(["run", "greet", `@${file}`])).stderr, /large\.json has 4\.0 MiB, and at most 3\.5 MiB/);
    await writeFile(file, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]));
    assert.match((await legion(["run", "greet", `@${file}`])).stderr, /is not UTF-8/);
  });

  test("says what it waits for, and gives up at --wait-timeout with exit code 4", async () => {
    // Long enough for a busy machine to ask what it waits for, which it does after half a second.
    const { code, stdout, stderr } = await legion(["run", "nobody", "--task-id", "w-1", "--wait-timeout", "6s"]);
    assert.deepEqual([code, stdout], [4, ""]);
    assert.equal(
      stderr,
      "no agent offers 'nobody' yet: queued\n" +
        "legion: Gave up waiting after 6 s; the task goes on. To see it:\n  legion get w-1\n",
    );
  });

  test("shows the agent's progress, a line for each change", async () => {
    const running = legion(["run", "nobody", "--task-id", "p-1"]);
    await waitFor(() => stub.tasks.has("p-1"), { describe: "the task" });
    stub.lease("p-1", "sleeper-1");
    const child = spawnCli(["watch", "p-1", "--json"], { env: stub.env });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await waitFor(() => stub.watchersOf("p-1") >= 3, { describe: "both to listen" });
    stub.progress("p-1", { fraction: 0.25, message: "a quarter" });
    stub.progress("p-1", { fraction: 0.25, message: "a quarter" });
    stub.finish("p-1", completed({ done: true }));
    const { code, stdout, stderr } = await running;
    assert.deepEqual([code, stdout], [0, '{"done":true}\n']);
    assert.equal(stderr, "running on sleeper-1\n25 %  a quarter\n");
    child.kill();
  });

  test("Ctrl-C ends the waiting, not the task, and says how to stop that", async () => {
    const child = spawnCli(["run", "nobody", "--task-id", "c-1"], { env: stub.env });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
    await waitFor(() => stub.tasks.has("c-1"), { describe: "the task" });
    child.kill("SIGINT");
    assert.equal(await closed, 130);
    assert.match(stderr, /the task goes on. To stop it:\n {2}legion cancel c-1\n/);
    assert.equal(stub.tasks.get("c-1")?.outcome, undefined);
  });
});

describe("the mesh is away", options, () => {
  for (const command of [
    ["run", "greet", "{}"],
    ["run", "greet", "--jsonl"],
    ["submit", "greet"],
    ["watch", "t"],
    ["agents"],
  ]) {
    test(`${command.join(" ")}: exit code 3, the address, and what to do`, async () => {
      const portBase = await freePortBase();
      const { code, stdout, stderr } = await runCli([...command, "--port-base", String(portBase)]);
      assert.deepEqual([code, stdout], [3, ""]);
      const port = portBase + (command[0] === "agents" ? 1 : 2);
      assert.match(
        stderr,
        new RegExp(
          `^legion: The mesh is not reachable: .* answers at 127\\.0\\.0\\.1:${port}; start one with \`npm start\` .*\\n$`,
        ),
      );
    });
  }

  test("health says so for each service", async () => {
    const portBase = await freePortBase();
    const { code, stdout, stderr } = await runCli(["health", "--json", "--port-base", String(portBase)]);
    assert.equal(code, 3);
    const health = JSON.parse(stdout) as { status: string; services: { name: string; status: string }[] };
    assert.equal(health.status, "unreachable");
    assert.deepEqual(
      health.services.map(({ name, status }) => `${name} ${status}`),
      ["registry", "dispatcher", "ratelimit", "watchdog"].map((name) => `${name} unreachable`),
    );
    assert.match(stderr, /npm start/);
  });
});

describe("commands that look", options, () => {
  test("submit prints the id alone; get, cancel and tasks find it", async () => {
    const { stdout: id } = await legion(["submit", "nobody", '{"n":1}']);
    assert.match(id, /^[\da-f-]{36}\n$/);
    const taskId = id.trim();
    const got = JSON.parse((await legion(["get", taskId, "--json"])).stdout) as Record<string, unknown>;
    assert.deepEqual(
      [got["task_id"], got["state"], got["attempt"], got["task_data"]],
      [taskId, "QUEUED", 0, { content_type: "application/json", data: { n: 1 } }],
    );
    const { stdout: shown } = await legion(["get", taskId]);
    assert.match(
      shown,
      /^task {8}[\da-f-]{36}\ncapability {2}nobody\nstate {7}QUEUED\nwaits {7}no agent offers 'nobody' yet\n/,
    );
    assert.match(shown, /\ninput {7}\{"n":1\}\n$/);
    assert.equal((await legion(["cancel", taskId, "--reason", "no"])).stdout, "canceled\n");
    assert.deepEqual(JSON.parse((await legion(["cancel", taskId, "--json"])).stdout), {
      task_id: taskId,
      state: "CANCELED",
    });
    const { stdout: tasks } = await legion(["tasks", "--state", "canceled"]);
    assert.match(tasks, /^TASK +STATE +TRIES +SUBMITTED +CAPABILITY\n/);
    assert.match(tasks, new RegExp(`\\n${taskId}  CANCELED +0/3 +.+  nobody\\n$`));
    assert.ok(tasks.split("\n").every((line) => line.length <= 80));
    const listed = JSON.parse((await legion(["tasks", "--json", "--limit", "1"])).stdout) as {
      tasks: unknown[];
      next_page_token: string;
    };
    assert.deepEqual([listed.tasks.length, listed.next_page_token], [1, "more"]);
  });

  test("an empty list is silent for programs, and tells people what to do", async () => {
    await using empty = await StubDispatcher.start();
    const { code, stdout, stderr } = await runCli(["tasks"], { env: empty.env });
    assert.deepEqual([code, stdout], [0, ""]);
    assert.match(stderr, /No tasks yet\. Give the mesh one: legion run/);
    assert.match(
      (await runCli(["tasks", "--state", "DEAD"], { env: empty.env })).stderr,
      /No task passes these filters/,
    );
  });

  test("get of what is not there is exit code 1", async () => {
    const { code, stdout, stderr } = await legion(["get", "nothing"]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /There is no task nothing\./);
  });

  test("watch tells each change and ends with the outcome", async () => {
    await legion(["submit", "nobody", "--task-id", "x-1"]);
    const watching = legion(["watch", "x-1"]);
    await waitFor(() => stub.watchersOf("x-1") === 1, { describe: "the watcher" });
    stub.lease("x-1", "a-1");
    stub.finish("x-1", failed("E1", "no"));
    const { code, stdout } = await watching;
    assert.equal(code, 1);
    assert.deepEqual(stdout.replaceAll(/^[\d:.]{12}/gm, "<time>").split("\n"), [
      "<time>  QUEUED     no agent offers 'nobody' yet",
      "<time>  LEASED     attempt 1  on a-1",
      "<time>  FAILED     attempt 1  E1: no",
      "",
    ]);
  });

  test("metrics and health are numbers for programs", async () => {
    const metrics = JSON.parse((await legion(["metrics", "--json"])).stdout) as Record<string, unknown>;
    for (const name of ["total_agents", "active_agents", "tasks_dispatched", "tasks_completed", "tasks_failed"]) {
      assert.equal(typeof metrics[name], "number", name);
    }
    assert.match((await legion(["metrics"])).stdout, /^total_agents +3\nactive_agents +2\n/);
    const address = stub.env["LEGION_DISPATCHER"];
    const env = { LEGION_REGISTRY: address, LEGION_RATELIMIT: address, LEGION_WATCHDOG: address };
    const { code, stdout } = await legion(["health", "--json"], { env });
    const health = JSON.parse(stdout) as Record<string, unknown> & { services: { name: string; status: string }[] };
    assert.deepEqual(
      [code, health["status"], health["agents"], health["database"], health["uptime"]],
      [0, "healthy", 2, "connected", 90.5],
    );
    assert.equal(health.services.find(({ name }) => name === "dispatcher")?.status, "serving");
    const silent = await legion(["health"], {
      env: { ...env, LEGION_WATCHDOG: `127.0.0.1:${(await freePorts(1))[0]}` },
    });
    assert.deepEqual([silent.code, silent.stdout.split(":")[0]], [1, "degraded"]);
    stub.health = { ...stub.health, status: "degraded" };
    const degraded = await legion(["health"], { env });
    assert.equal(degraded.code, 1);
    assert.match(degraded.stdout, /^degraded: 2 agents, database connected, up for 1 min\nregistry +/);
    assert.match(degraded.stdout, /\ndispatcher {2}serving {6}127\.0\.0\.1:\d+\n/);
  });
});

describe("usage", options, () => {
  test("an unknown command suggests the nearest", async () => {
    const { code, stdout, stderr } = await legion(["rnu", "greet"]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /^legion: unknown command 'rnu'\n\(Did you mean run\?\)\n/);
  });

  test("without a command the help goes to standard error", async () => {
    const { code, stdout, stderr } = await legion([]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /^Usage: legion/);
  });

  test("help that was asked for goes to standard output", async () => {
    const { code, stdout, stderr } = await legion(["run", "--help"]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /Exit codes: 0 completed/);
    assert.match((await legion(["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test("a wrong address in the environment is named", async () => {
    const { code, stderr } = await legion(["metrics"], { env: { LEGION_DISPATCHER: "localhost" } });
    assert.equal(code, 2);
    assert.match(stderr, /LEGION_DISPATCHER=localhost .*expected host:port/);
  });

  test("migrate wants to know the database, and says when it is away", async () => {
    const { code, stderr } = await legion(["migrate"], { env: { DATABASE_URL: "" } });
    assert.equal(code, 2);
    assert.match(stderr, /DATABASE_URL is not set: expected for example/);
    const [port] = await freePorts(1);
    const away = await legion(["migrate"], { env: { DATABASE_URL: `postgres://u:secret@127.0.0.1:${port}/legion` } });
    assert.equal(away.code, 3);
    assert.match(away.stderr, /The database at 127\.0\.0\.1:\d+ is not reachable/);
    assert.doesNotMatch(away.stderr, /secret/);
  });
});
