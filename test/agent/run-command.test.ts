import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtempDisposable, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import fc from "fast-check";
import { type CommandOptions, runCommand, TaskError } from "#libs/agent/index.ts";

const root = join(import.meta.dirname, "../..");
const node = process.execPath;

function run(code: string, options?: CommandOptions) {
  return runCommand(node, ["-e", code], options);
}

async function errorOf(running: Promise<unknown>): Promise<TaskError> {
  const error: unknown = await running.then(
    () => assert.fail("it should fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof TaskError, String(error));
  return error;
}

async function codeOf(running: Promise<unknown>): Promise<string> {
  return (await errorOf(running)).code;
}

/** Processes call here when they are ready; that a call ends says that its process is gone, on any system. */
async function listen() {
  const callers = new Map<string, Socket>();
  const server = createServer((socket) => {
    socket
      .on("error", () => {})
      .once("data", (role) => {
        callers.set(role.toString(), socket);
        server.emit("call");
      });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    /** Code that calls, and goes on until it is ended. */
    call: (role: string) => `(() => {
      const socket = require("node:net").connect(${port}, "127.0.0.1");
      socket.write("${role}");
      return socket;
    })()`,
    async from(role: string): Promise<Socket> {
      while (!callers.has(role)) await once(server, "call");
      return callers.get(role)!;
    },
    [Symbol.dispose]() {
      callers.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}

const stubborn = `process.on("SIGTERM", () => {}); `;

function inBackground(code: string, options = `{ stdio: "ignore" }`): string {
  return `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(code)}], ${options}); `;
}

test("arguments, input and output pass as they are", async () => {
  const code = `process.stdin.pipe(process.stderr); console.log(JSON.stringify(process.argv.slice(1)))`;
  const anything = fc.string({ unit: "grapheme" }).map((given) => given.replaceAll("\0", ""));
  const words = fc.oneof(anything, fc.constantFrom("$(id)", "`id`", "; id", "* ~ $HOME", "--", "-e", "a\nb", "'\""));
  const property = fc.asyncProperty(fc.array(words, { maxLength: 100 }), anything, async (args, stdin) => {
    const result = await runCommand(node, ["-e", code, "--", ...args], { stdin });
    assert.deepEqual(JSON.parse(result.stdout), args);
    assert.deepEqual([result.stderr, result.exitCode, result.signal], [stdin, 0, null]);
    assert.ok(result.durationMs > 0);
  });
  await fc.assert(property, { numRuns: 5 });
});

test("only variables that are named pass", async () => {
  process.env["RUN_COMMAND_SECRET"] = "secret";
  process.env["RUN_COMMAND_NAMED"] = "named";
  const { stdout } = await runCommand("env", [], {
    inheritEnv: ["RUN_COMMAND_NAMED", "RUN_COMMAND_ABSENT"],
    env: { GIVEN: "a=b", LANG: "C" },
  });
  const lines = stdout.trim().split("\n");
  const system = new Set(["PATH", "HOME", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ"]);
  assert.deepEqual(lines.filter((line) => !system.has(line.split("=")[0]!)).toSorted(), [
    "GIVEN=a=b",
    "LANG=C",
    "RUN_COMMAND_NAMED=named",
  ]);
});

test("what cannot be run is refused, and says why", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), "run-command-"));
  const tool = join(directory.path, "tool");
  await writeFile(tool, "#!/bin/sh\necho found\n");
  assert.equal(await codeOf(runCommand(tool)), "COMMAND_NOT_FOUND");
  await chmod(tool, 0o755);
  assert.equal((await runCommand("tool", [], { env: { PATH: `/nowhere:${directory.path}` } })).stdout, "found\n");
  const here = { cwd: directory.path };
  // Directories that are not absolute are passed over, whatever they are relative to.
  for (const path of ["", ".", ":", "bin:.:", relative(process.cwd(), directory.path)]) {
    assert.equal(await codeOf(runCommand("tool", [], { ...here, env: { PATH: path } })), "COMMAND_NOT_FOUND", path);
  }
  for (const command of ["./tool", "a/tool", "", "tool x", "-tool", "..", "to\0ol", "tool;id"]) {
    assert.equal(await codeOf(runCommand(command, [], here)), "COMMAND_INVALID", command);
  }
  assert.equal(await codeOf(runCommand(directory.path)), "COMMAND_NOT_FOUND");
  const nul = await errorOf(runCommand("echo", ["a", "b\0c"]));
  assert.deepEqual([nul.message, nul.retryable], ["Argument 2 contains a NUL character.", false]);
  assert.equal(await codeOf(runCommand("echo", "a b" as unknown as string[])), "COMMAND_INVALID");
  assert.equal(await codeOf(runCommand("echo", [1 as unknown as string])), "COMMAND_INVALID");
  assert.equal(await codeOf(runCommand("echo", [], { cwd: tool })), "COMMAND_INVALID");
  assert.equal(await codeOf(runCommand("echo", [], { env: { "A=B": "" } })), "COMMAND_INVALID");
  assert.equal(await codeOf(runCommand("echo", ["x".repeat(50_000_000)])), "COMMAND_INVALID");
  await assert.rejects(runCommand("echo", [], { timeoutMs: Infinity }), RangeError);
});

test("a failure is an error, unless it is to be looked at", async () => {
  const code = `console.log("out"); console.error("the reason"); process.exit(3)`;
  const error = await errorOf(run(code));
  assert.deepEqual([error.code, error.retryable], ["COMMAND_FAILED", true]);
  assert.deepEqual(error.details, { exitCode: 3, signal: null });
  assert.match(error.message, /exited with code 3: the reason$/);
  const { exitCode, stdout, stderr } = await run(code, { check: false });
  assert.deepEqual([exitCode, stdout, stderr], [3, "out\n", "the reason\n"]);
  const ended = await run(`process.kill(process.pid, "SIGUSR2"); setTimeout(() => {}, 1e6)`, { check: false });
  assert.deepEqual([ended.exitCode, ended.signal], [null, "SIGUSR2"]);
});

test("output up to the limit is kept; one byte more ends the command", async () => {
  for (const stream of ["stdout", "stderr"] as const) {
    const code = `process.${stream}.write("x".repeat(100_000))`;
    assert.equal((await run(code, { maxOutputBytes: 100_000 }))[stream].length, 100_000);
    const error = await errorOf(run(code, { maxOutputBytes: 99_999 }));
    assert.deepEqual([error.code, error.retryable], ["OUTPUT_TOO_LARGE", false]);
    assert.match(error.message, new RegExp(`more than 99999 bytes to ${stream}`));
  }
  assert.equal(await codeOf(runCommand("yes")), "OUTPUT_TOO_LARGE");
});

test("the time limit ends it", async () => {
  assert.equal(await codeOf(runCommand("sleep", ["1000"], { timeoutMs: 50 })), "COMMAND_TIMEOUT");
});

test("a cancel ends what it started too, also what ignores SIGTERM", async () => {
  for (const leader of ["", stubborn]) {
    using peer = await listen();
    const abort = new AbortController();
    const code = `${leader}${inBackground(stubborn + peer.call("started"))}${peer.call("leader")}`;
    const running = errorOf(run(code, { signal: abort.signal, killGraceMs: 20 }));
    const sockets = await Promise.all([peer.from("leader"), peer.from("started")]);
    const closed = sockets.map((socket) => once(socket, "close"));
    abort.abort("enough");
    const error = await running;
    assert.deepEqual([error.code, error.cause], ["COMMAND_CANCELED", "enough"]);
    await Promise.all(closed);
    assert.equal(await codeOf(run("", { signal: abort.signal })), "COMMAND_CANCELED");
  }
});

test("a cancel lets a command, and what it started, end in their own way", async () => {
  using peer = await listen();
  const abort = new AbortController();
  const polite = `const socket = ${peer.call("polite")};
    process.on("SIGTERM", () => setTimeout(() => socket.end("bye", () => process.exit()), 50));`;
  // It is gone at once itself, while what it started holds its output.
  const running = errorOf(
    run(inBackground(polite, `{ stdio: "inherit" }`) + `setTimeout(() => {}, 1e6)`, {
      signal: abort.signal,
      killGraceMs: 60_000,
    }),
  );
  const socket = await peer.from("polite");
  abort.abort();
  assert.equal(await text(socket), "bye");
  assert.equal((await running).code, "COMMAND_CANCELED");
});

test("what a command leaves running is killed; what escaped does not hold it up", async () => {
  using peer = await listen();
  const leave = inBackground(stubborn + peer.call("left"));
  const escape = inBackground(peer.call("escaped") + ".resume()", `{ stdio: "inherit", detached: true }`);
  // It ends with a word when it is told that the others are there.
  const code = `${leave}${escape}${peer.call("leader")}.once("data", () => { console.log("over"); process.exit(); })`;
  const running = run(code);
  const [leader, left, escaped] = await Promise.all(["leader", "left", "escaped"].map((role) => peer.from(role)));
  let escapedClosed = false;
  const gone = once(escaped!, "close").then(() => (escapedClosed = true));
  const leftGone = once(left!, "close");
  leader!.write("go");
  assert.equal((await running).stdout, "over\n");
  await leftGone;
  assert.equal(escapedClosed, false);
  // It has nothing to do but to listen to this, and ends with it.
  escaped!.end();
  await gone;
});

test("an agent that exits takes its commands with it", async () => {
  using peer = await listen();
  const command = JSON.stringify(stubborn + peer.call("command"));
  const code = `import { runCommand } from "#libs/agent/index.ts";
    void runCommand(process.execPath, ["-e", ${command}]);
    process.stdin.on("end", () => process.exit(7)).resume();`;
  const child = spawn(node, ["--input-type=module", "-e", code], { cwd: root, stdio: ["pipe", "inherit", "inherit"] });
  const exited = once(child, "exit");
  const closed = once(await peer.from("command"), "close");
  child.stdin.end();
  assert.equal((await exited)[0], 7);
  await closed;
});
