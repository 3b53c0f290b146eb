import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Readable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const fixture = fileURLToPath(new URL("fixtures/service.ts", import.meta.url));

function start(fault: string, { env = {}, args = [] as string[] } = {}) {
  const child = spawn(process.execPath, [fixture, fault, ...args], { env: { ...process.env, ...env } });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
  return {
    child,
    said,
    async until(word: string): Promise<void> {
      while (!said.stdout.includes(word)) await once(child.stdout, "data");
    },
    exit: new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      child.once("close", (code, signal) => resolve({ code, signal }));
    }),
    /** The records logged, without those lines that are none. */
    records: (): Record<string, any>[] =>
      said.stdout
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line)),
    [Symbol.dispose]: () => void child.kill("SIGKILL"),
  };
}

const kill = (child: ChildProcess, signal: NodeJS.Signals): void => assert.ok(child.kill(signal));

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} disposes the service and exits 0`, async () => {
    using service = start("none");
    await service.until("ready");
    kill(service.child, signal);
    assert.deepEqual(await service.exit, { code: 0, signal: null });
    assert.match(service.said.stdout, /ready\n.*"stopping","reason":"SIG(TERM|INT)".*\ndisposing\n.*"stopped"/);
    assert.equal(service.said.stderr, "");
  });
}

test("a stop that hangs ends at its limit, says what is still open and exits 1", async () => {
  using service = start("stop hangs");
  await service.until("ready");
  kill(service.child, "SIGTERM");
  assert.equal((await service.exit).code, 1);
  const last = service.records().at(-1);
  assert.equal(last?.["msg"], "stopping took longer than 100 ms, exiting regardless");
  assert.equal(last?.["still_open"].TCPServerWrap, 1, JSON.stringify(last));
});

test("a second signal exits at once", async () => {
  using service = start("stop hangs", { args: ["long"] });
  await service.until("ready");
  kill(service.child, "SIGTERM");
  await service.until("disposing");
  kill(service.child, "SIGINT");
  assert.equal((await service.exit).code, 130);
  assert.doesNotMatch(service.said.stdout, /longer than/);
});

test("a signal during the start gives the start up", async () => {
  using service = start("start waits");
  await service.until("starting");
  kill(service.child, "SIGTERM");
  assert.equal((await service.exit).code, 0);
  assert.match(service.said.stdout, /"stopped"/);
});

test("settings that cannot be used are told in plain sentences, exit code 2", async () => {
  using service = start("wrong settings");
  assert.equal((await service.exit).code, 2);
  assert.equal(
    service.said.stderr,
    "2 settings cannot be used:\n  POOL_SIZE=abc: expected an integer\n  MODE=x: expected one of a, b\n",
  );
  assert.equal(service.said.stdout, "");
});

test("an expected error is one sentence, exit code 1", async () => {
  using service = start("port taken");
  assert.equal((await service.exit).code, 1);
  assert.equal(service.said.stderr, "Port 7401 on 127.0.0.1 is taken by another process.\n");
});

for (const [fault, message] of [
  ["start fails", "cannot read that"],
  ["uncaught exception", "thrown later"],
  ["unhandled rejection", "rejected later"],
] as const) {
  test(`${fault}: logged as fatal with its stack, exit code 1`, async () => {
    using service = start(fault);
    assert.equal((await service.exit).code, 1);
    const record = service.records().at(-1);
    assert.equal(record?.["level"], "fatal");
    assert.match(record?.["err"].stack, new RegExp(`${message}\\n +at .*service\\.ts`));
    assert.equal(service.said.stderr, "");
  });
}

test("a dispose that fails is logged, exit code 1", async () => {
  using service = start("stop fails");
  await service.until("ready");
  kill(service.child, "SIGTERM");
  assert.equal((await service.exit).code, 1);
  assert.match(service.records().at(-1)?.["err"].message, /could not close/);
});

test("supervised, it stops when the supervisor's end of its standard input is gone", async () => {
  using service = start("none", { env: { LEGION_SUPERVISED: "1" } });
  await service.until("ready");
  service.child.stdin.end();
  assert.equal((await service.exit).code, 0);
  assert.match(service.said.stdout, /"reason":"the supervisor is gone".*\ndisposing\n/);
});

test("supervised, it stops when the supervisor is killed and nobody reads its output any more", async () => {
  // A supervisor that starts the service and does nothing more. Both hold the fourth pipe, so its end is the end of both.
  const supervisor = spawn(
    process.execPath,
    [
      "-e",
      `const service = require("node:child_process").spawn(process.execPath, [process.argv[1]], {
         stdio: ["pipe", "pipe", "pipe", 3],
       });
       service.stdout.on("data", (text) => String(text).includes("ready") && console.log("ready"));`,
      fixture,
    ],
    { env: { ...process.env, LEGION_SUPERVISED: "1" }, stdio: ["ignore", "pipe", "inherit", "pipe"] },
  );
  const heldByBoth = supervisor.stdio[3];
  assert.ok(heldByBoth instanceof Readable);
  heldByBoth.resume();
  await once(supervisor.stdout!, "data");
  supervisor.kill("SIGKILL");
  await once(heldByBoth, "end");
});

test("unsupervised, the end of standard input means nothing", async () => {
  using service = start("none");
  await service.until("ready");
  service.child.stdin.end();
  await once(service.child.stdin, "close");
  kill(service.child, "SIGTERM");
  await service.exit;
  assert.match(service.said.stdout, /"reason":"SIGTERM"/);
});
