import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { runCli } from "../harness/run-cli.ts";

const stack = new AsyncDisposableStack();
let mesh: Mesh;

before(async () => {
  mesh = stack.use(await startMesh({ agents: true }));
});
after(() => stack.disposeAsync());

const legion = (args: string[], input?: string) =>
  runCli(args, { env: mesh.env, ...(input !== undefined && { input }) });

/** What a command with --json says. */
const asked = async (...args: string[]): Promise<any> => {
  const { code, stdout, stderr } = await legion([...args, "--json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
};

test("run prints the result alone", async () => {
  const { code, stdout, stderr } = await legion(["run", "greet", '{"name":"Ada"}']);
  assert.deepEqual([code, stdout, stderr], [0, '{"greeting":"Hello, Ada!"}\n', ""]);
});

test("what runs 2,000 lines of real text through wordcount gets each count right, in the order of the input", async () => {
  const texts = await realTexts(2_000);
  const input = texts.map((text) => JSON.stringify({ text })).join("\n");
  const { code, stdout, stderr } = await legion(["run", "wordcount", "--jsonl"], input);
  assert.equal(code, 0, stderr);
  const counted = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  assert.deepEqual(counted, texts.map(expectedCounts));
  assert.match(stderr, /2,000/);
});

test("a failed line is an error in its place, and exit code 1", async () => {
  const input = ['{"times":0}', '{"message":"no","retryable":false}', '{"times":0}'].join("\n");
  const { code, stdout } = await legion(["run", "fail", "--jsonl"], input);
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { attempt?: number; error?: { code: string; message: string } });
  assert.equal(code, 1);
  assert.deepEqual([lines.length, lines[0]?.attempt, lines[2]?.attempt], [3, 1, 1]);
  assert.deepEqual([lines[1]?.error?.code, lines[1]?.error?.message], ["DEMO_FAILURE", "no"]);
});

test("a task is submitted, watched, looked at and found in the list", async () => {
  const { stdout: id } = await legion(["submit", "sleep", '{"ms":300}', "--task-id", "nap", "--user", "ada"]);
  assert.equal(id, "nap\n");
  const watched = await legion(["watch", "nap"]);
  assert.equal(watched.code, 0, watched.stderr);
  assert.match(watched.stdout.trimEnd().split("\n").at(-1) ?? "", /COMPLETED/);
  const task = await asked("get", "nap");
  assert.deepEqual(
    [task.state, task.attempt, task.user, task.agent_id, task.outcome.completed.result.data],
    ["COMPLETED", 1, "ada", "demo-sleeper", { slept_ms: 300 }],
  );
  const { tasks } = await asked("tasks", "--user", "ada", "--state", "completed");
  assert.deepEqual(
    tasks.map(({ task_id }: { task_id: string }) => task_id),
    ["nap"],
  );
});

test("a running task is canceled at its agent, a waiting one at once", async () => {
  await legion(["submit", "sleep", '{"ms":60000}', "--task-id", "long"]);
  const running = legion(["watch", "long"]);
  await legion(["submit", "nobody", "{}", "--task-id", "waits"]);
  assert.match((await asked("get", "waits")).waiting_reason, /no agent offers 'nobody'/);
  assert.equal((await legion(["cancel", "waits"])).stdout, "canceled\n");
  assert.equal((await legion(["cancel", "long", "--reason", "changed my mind"])).code, 0);
  const { code, stdout } = await running;
  assert.deepEqual([code, /CANCELED .*changed my mind/.test(stdout)], [1, true], stdout);
  assert.deepEqual((await asked("get", "long")).outcome, { canceled: { reason: "changed my mind" } });
});

test("agents, metrics and health tell of the mesh", async () => {
  const { agents } = await asked("agents");
  assert.deepEqual(agents.map(({ agent_id }: { agent_id: string }) => agent_id).toSorted(), [
    "demo-counter",
    "demo-failer",
    "demo-greeter",
    "demo-sleeper",
  ]);
  const first = await asked("metrics");
  assert.deepEqual([first.total_agents, first.active_agents], [4, 4]);
  await legion(["run", "greet", '{"name":"Bob"}']);
  const now = await asked("metrics");
  assert.deepEqual(
    [now.tasks_completed - first.tasks_completed, now.tasks_dispatched - first.tasks_dispatched],
    [1, 1],
  );
  const health = await asked("health");
  assert.deepEqual([health.status, health.agents, health.database], ["healthy", 4, "connected"]);
  assert.ok(health.uptime > 0);
  assert.deepEqual(
    health.services.map(({ name, status }: { name: string; status: string }) => `${name} ${status}`).toSorted(),
    ["dispatcher serving", "ratelimit serving", "registry serving", "watchdog serving"],
  );
});

/** Pieces of this repository's own documents and contracts, of one to four lines. */
async function realTexts(count: number): Promise<string[]> {
  const paths = await Array.fromAsync(glob(["proto/**/*.proto", "*.md", "docs/*.md"], { cwd: packageRoot }));
  const lines = paths.toSorted().flatMap((path) => readFileSync(join(packageRoot, path), "utf8").split("\n"));
  const texts: string[] = [];
  for (let at = 0; texts.length < count; at += 1 + (texts.length % 4)) {
    assert.ok(at < lines.length, "there is enough text");
    texts.push(lines.slice(at, at + 1 + (texts.length % 4)).join("\n"));
  }
  return texts;
}

/** The counts, found in another way than the agent's. */
function expectedCounts(text: string): unknown {
  const words = text.split(/\s+/u).filter((word) => word !== "");
  const distinct = [...new Set(words)];
  const top = distinct
    .map((word) => ({ word, count: words.filter((other) => other === word).length }))
    .toSorted((a, b) => b.count - a.count || distinct.indexOf(a.word) - distinct.indexOf(b.word))
    .slice(0, 5);
  return {
    lines: text.split("\n").length - 1,
    words: words.length,
    bytes: new TextEncoder().encode(text).length,
    top,
  };
}
