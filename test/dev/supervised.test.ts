import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { Child } from "#libs/cli/dev/child.ts";
import { endOrphans, ProcessList } from "#libs/cli/dev/process-list.ts";
import { RestartBackoff } from "#libs/cli/dev/restart-backoff.ts";
import { Supervised } from "#libs/cli/dev/supervised.ts";
import { waitFor } from "../harness/wait-for.ts";
import { isAlive, newDataDir } from "./local-legion.ts";

const main = fileURLToPath(new URL("fixtures/child.ts", import.meta.url));

test("restarts come quickly at first, ever slower while deaths go on, and quickly again after a sound run", () => {
  const backoff = new RestartBackoff();
  const delays = [0, 0, 29_999, 0, 0, 0, 0, 0, 0].map((ranMs) => backoff.afterDeath(ranMs));
  assert.deepEqual(delays, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
  assert.equal(backoff.deaths, 9);
  assert.equal(backoff.afterDeath(30_000), 100);
});

test("a process that dies comes back, and stopping it leaves nothing of it", async (t) => {
  const marker = join(await newDataDir(t), "crashed");
  const { supervised, allLines, deaths, recovered } = supervise(t, [`crash-once=${marker}`]);
  await supervised.ready;
  assert.deepEqual(deaths, ["1 after 1 deaths, never ready"]);
  assert.equal(recovered(), 1, "the restart was told");
  assert.ok(allLines.includes("TypeError: the first time"), "what the dying process said was delivered");

  const firstPid = supervised.pid!;
  process.kill(firstPid, "SIGKILL");
  await waitFor(() => recovered() === 2, { describe: "the second recovery" });
  assert.equal(deaths[1], "SIGKILL after 2 deaths, was ready");
  assert.notEqual(supervised.pid, firstPid);

  await supervised.stop(5_000);
  assert.ok(!isAlive(supervised.pid!));
  assert.equal(deaths.length, 2, "a stop that was asked for is no death");
});

test("a process that will not stop is killed with what it started", async (t) => {
  const { supervised, lines } = supervise(t, ["ignore-sigterm", "grandchild"]);
  await supervised.ready;
  const grandchild = Number(lines[0]);
  assert.ok(isAlive(grandchild));
  await supervised.stop(200);
  assert.ok(lines.includes("ignored SIGTERM"), "it was asked first");
  assert.ok(!isAlive(supervised.pid!));
  await waitFor(() => !isAlive(grandchild), { describe: "the end of the grandchild" });
});

test("what outlived its supervisor is ended by the next start, also when it hangs; strangers are left alone", async (t) => {
  const path = join(await newDataDir(t), "processes.json");
  const [hanging, leaving, stranger] = [child(t), child(t), child(t)];
  await Promise.all([hanging.up, leaving.up, stranger.up]);
  const list = new ProcessList(path);
  list.set("hanging", hanging.pid);
  list.set("leaving", leaving.pid);
  list.set("stranger", stranger.pid);
  // As if the pid had been given to another process since.
  const listed = JSON.parse(readFileSync(path, "utf8")) as Record<string, { pid: number; startTime: string }>;
  list.clear();
  listed["stranger"]!.startTime += "0";
  await writeFile(path, JSON.stringify(listed));

  process.kill(hanging.pid!, "SIGSTOP");
  process.kill(leaving.pid!, "SIGTERM");
  await endOrphans(path, 100);
  assert.equal((await hanging.exited).signal, "SIGKILL");
  assert.equal((await leaving.exited).signal, "SIGTERM");
  assert.ok(isAlive(stranger.pid!));
  await endOrphans(path, 100);
});

function supervise(t: TestContext, args: readonly string[]) {
  // Of the present run, and of all runs.
  const lines: string[] = [];
  const allLines: string[] = [];
  const deaths: string[] = [];
  let recoveries = 0;
  const supervised = new Supervised({
    name: "fixture",
    args: [main, ...args],
    env: process.env,
    whenReady: async (signal) =>
      void (await waitFor(() => signal.aborted || lines.at(-1) === "up", { describe: "up" })),
    onStarted: () => (lines.length = 0),
    onLine: (line) => void (lines.push(line), allLines.push(line)),
    onDeath: ({ code, signal }, death) => {
      deaths.push(`${signal ?? code} after ${death.deaths} deaths, ${death.wasReady ? "was" : "never"} ready`);
    },
    onRecovered: () => recoveries++,
  });
  t.after(() => supervised.kill());
  return { supervised, lines, allLines, deaths, recovered: () => recoveries };
}

function child(t: TestContext) {
  const { promise: up, resolve } = Promise.withResolvers<void>();
  const made = new Child({ name: "fixture", args: [main], env: process.env }, () => resolve());
  t.after(() => made.kill());
  return { exited: made.exited, pid: made.pid, up };
}
