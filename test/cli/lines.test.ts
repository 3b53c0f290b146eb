import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { open, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { completed, dataOf, failed } from "../client/payloads.ts";
import { StubDispatcher } from "../client/stub-dispatcher.ts";
import { runCli, spawnCli } from "../harness/run-cli.ts";
import { waitFor } from "../harness/wait-for.ts";

async function start(t: TestContext, play: StubDispatcher["play"]): Promise<StubDispatcher> {
  const stub = await StubDispatcher.start({ play });
  t.after(() => stub.down());
  return stub;
}

const numberOf = (spec: TaskSpec): number => Number(dataOf(spec)["n"]);
const inputOf = (count: number): string => Array.from({ length: count }, (_, n) => `{"n":${n}}\n`).join("");

describe("run --jsonl", () => {
  test("prints results in the order of the input, whatever the order they come in", async (t) => {
    const waiting: (() => void)[] = [];
    const stub = await start(t, async (spec) => {
      const n = numberOf(spec);
      // The first of each hundred comes last.
      if (n % 100 === 0) await new Promise<void>((resolve) => waiting.push(resolve));
      if (n % 100 === 99) waiting.shift()?.();
      return completed({ n });
    });
    const { code, stdout, stderr } = await runCli(["run", "count", "--jsonl"], {
      env: stub.env,
      input: inputOf(2_000),
    });
    assert.equal(code, 0);
    assert.equal(stdout, inputOf(2_000));
    assert.match(stderr, /^2,000 done, 0 failed, [\d.]+ s, [\d,]+\/s\n$/);
  });

  test("a line that fails, or is no task, has its error in its place", async (t) => {
    const stub = await start(t, (spec) =>
      numberOf(spec) === 1 ? failed("ValueError", "no ones", { n: 1 }) : completed("a\nb"),
    );
    const input = '\ufeff{"n":0}\r\n\n[1]\n{"n":1}\n{"n":\n"text"';
    const { code, stdout, stderr } = await runCli(["run", "count", "--jsonl", "--task-id", "day"], {
      env: stub.env,
      input,
    });
    assert.equal(code, 1);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line): unknown => JSON.parse(line));
    const noTask = (message: string) => ({ error: { code: "INVALID_LINE", message } });
    assert.deepEqual(lines, [
      "a\nb",
      noTask('Line 3 is an array, but a task\'s input must be a JSON object, such as {"name":"Ada"}.'),
      {
        error: {
          code: "ValueError",
          message: "no ones",
          task_id: "day-4",
          state: "FAILED",
          attempt: 0,
          retryable: false,
          details: { n: 1 },
        },
      },
      noTask("Line 5 is not valid JSON: line 1, column 6: expected a value but the text ends."),
      noTask('Line 6 is a string, but a task\'s input must be a JSON object, such as {"name":"Ada"}.'),
    ]);
    assert.deepEqual([...stub.tasks.keys()], ["day-1", "day-4"]);
    assert.match(stderr, /^1 done, 4 failed/);
  });

  test("goes on through a restart of the mesh, and nothing is missing", async (t) => {
    const stub = await start(t, (spec) => (numberOf(spec) < 3_000 ? completed({ n: numberOf(spec) }) : undefined));
    const running = runCli(["run", "count", "--jsonl"], { env: stub.env, input: inputOf(6_000) });
    await waitFor(() => stub.tasks.size >= 3_500, { describe: "some tasks to be held" });
    await stub.down();
    stub.play = (spec) => completed({ n: numberOf(spec) });
    for (const [id, task] of stub.tasks) {
      if (task.outcome === undefined)
        stub.finish(id, completed(JSON.parse(Buffer.from(task.taskData?.data ?? []).toString())));
    }
    await stub.up();
    const { code, stdout, stderr } = await running;
    assert.deepEqual([code, stdout], [0, inputOf(6_000)]);
    assert.match(stderr, /Waiting for the mesh to come back\.\nThe mesh is back\.\n6,000 done, 0 failed/);
    assert.equal(stub.tasks.size, 6_000, "no task has two ids");
  });

  test("with --task-id the same command again runs nothing twice", async (t) => {
    let runs = 0;
    const stub = await start(t, (spec) => {
      runs++;
      return completed({ n: numberOf(spec) });
    });
    const once = () =>
      runCli(["run", "count", "--jsonl", "--task-id", "monday"], { env: stub.env, input: inputOf(50) });
    const [first, second] = [await once(), await once()];
    assert.equal(first.stdout, second.stdout);
    assert.equal(runs, 50);
  });

  test("keeps to the pace of a limit", async (t) => {
    let refusals = 5;
    const stub = await start(t, (spec) => completed({ n: numberOf(spec) }));
    stub.refuse = () => (refusals-- > 0 ? legionError("RATE_LIMITED", "too many", { retryDelayMs: 20 }) : undefined);
    const { code, stdout } = await runCli(["run", "count", "--jsonl"], { env: stub.env, input: inputOf(20) });
    assert.deepEqual([code, stdout], [0, inputOf(20)]);
  });

  test("needs no more memory for more lines", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "legion-lines-"));
    t.after(() => rm(directory, { recursive: true }));
    const stub = await start(t, () => completed({ text: "y".repeat(1_000) }));
    const input = join(directory, "in.jsonl");
    await writeFile(input, `${JSON.stringify({ text: "x".repeat(1_000) })}\n`.repeat(80_000));
    const held = await bytesHeld(["run", "count", "--jsonl", `@${input}`], stub.env, join(directory, "out"));
    const half = Math.floor(held.length / 2);
    assert.ok(half > 1, "it was looked at too seldom");
    const [before, later] = [Math.max(...held.slice(0, half)), Math.max(...held.slice(half))];
    // The second half of the lines is 40 MB of input and as much of output; what is under way at a time is up to 16 MB.
    assert.ok(later - before < 30_000_000, `${later - before} bytes more`);
  });

  test("ends quietly when nobody reads on", async (t) => {
    const stub = await start(t, (spec) => completed({ n: numberOf(spec) }));
    const child = spawnCli(["run", "count", "--jsonl"], { env: stub.env });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
    child.stdin.on("error", () => {});
    child.stdin.end(inputOf(20_000));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    child.stdout.destroy();
    assert.equal(await closed, 0);
    assert.equal(stderr, "");
  });

  test("Ctrl-C tells what goes on, and how to go on", async (t) => {
    const stub = await start(t, (spec) => (numberOf(spec) < 5 ? completed({ n: numberOf(spec) }) : undefined));
    const child = spawnCli(["run", "count", "--jsonl", "--task-id", "x"], { env: stub.env });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
    child.stdin.end(inputOf(12));
    await waitFor(() => stub.tasks.size === 12 && stdout.length >= inputOf(5).length, { describe: "the first five" });
    child.kill("SIGINT");
    assert.equal(await closed, 130);
    assert.equal(stdout, inputOf(5));
    assert.match(
      stderr,
      /5 done, 0 failed.*\nInterrupted; 7 tasks that were handed over go on\.\nThe same command again/,
    );
  });
});

describe("submit --jsonl", () => {
  test("prints one id a line, in order, through trouble", async (t) => {
    const stub = await start(t, () => undefined);
    let refusals = 1;
    stub.refuse = () => (refusals-- > 0 ? legionError("DATABASE_UNAVAILABLE", "The database is away.") : undefined);
    const input = `${inputOf(700)}[]\n`;
    const { code, stdout, stderr } = await runCli(["submit", "count", "--jsonl", "--task-id", "m"], {
      env: stub.env,
      input,
    });
    assert.equal(code, 1);
    assert.equal(stdout, Array.from({ length: 700 }, (_, n) => `m-${n + 1}\n`).join(""));
    assert.match(
      stderr,
      /The database is away\. Waiting.*\nThe mesh is back\.\nLine 701 is an array.*\n700 done, 1 failed/,
    );
    assert.equal(stub.tasks.size, 700);
  });

  test("--json tells of each line, refusals in their place", async (t) => {
    const stub = await start(t, () => undefined);
    stub.refuse = ({ taskId }) => (taskId === "m-2" ? legionError("TASK_ID_CONFLICT", "is another task") : undefined);
    const args = ["submit", "count", "--jsonl", "--json", "--task-id", "m"];
    const { stdout } = await runCli(args, { env: stub.env, input: inputOf(3) });
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(lines[0], { task_id: "m-1", state: "QUEUED", created: true, traceparent: "" });
    assert.deepEqual(lines[1], { error: { code: "TASK_ID_CONFLICT", message: "is another task", task_id: "m-2" } });
    assert.equal(lines[2]?.["task_id"], "m-3");
  });
});

describe("bin.js", () => {
  test("finds the Node it needs when an older one runs it", async (t) => {
    const older = "/usr/bin/node";
    const major = await outputOf(older, ["-p", "process.versions.node.split('.')[0]"]).catch(() => "");
    if (major.trim() === "" || Number(major) >= 26) return t.skip("there is no older Node here");
    const stub = await start(t, (spec) => completed({ n: numberOf(spec) }));
    const bin = join(packageRoot, "libs/cli/bin.js");
    assert.equal(await outputOf(older, [bin, "run", "count", '{"n":1}'], stub.env), '{"n":1}\n');
    await assert.rejects(outputOf(older, [bin, "rnu"], stub.env), /exit code 2/);
  });
});

function outputOf(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (some: string) => (text += some));
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve(text) : reject(new Error(`exit code ${code}`))));
  });
}

/** The bytes that the command held, looked at every now and then; garbage does not count. */
async function bytesHeld(args: string[], env: NodeJS.ProcessEnv, output: string): Promise<number[]> {
  await using file = await open(output, "w");
  const script = `
    const held = [];
    setInterval(() => {
      gc();
      const { heapUsed, external } = process.memoryUsage();
      held.push(heapUsed + external);
    }, 150).unref();
    process.on("exit", () => process.stderr.write("held " + JSON.stringify(held)));
    const { main } = await import(${JSON.stringify(join(packageRoot, "libs/cli/main.ts"))});
    await main(${JSON.stringify(args)});`;
  const child = spawn(process.execPath, ["--expose-gc", "--input-type=module", "-e", script], {
    env: { ...process.env, ...env },
    stdio: ["ignore", file.fd, "pipe"],
  });
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise((resolve) => child.once("close", resolve));
  assert.equal(code, 0, stderr);
  return JSON.parse(/held (\[.*\])$/.exec(stderr)?.[1] ?? "[]") as number[];
}
