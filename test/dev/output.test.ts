import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters, styleText } from "node:util";
import { addressTable, readyLine } from "#libs/cli/dev/address-table.ts";
import type { OutputStream } from "#libs/cli/dev/child.ts";
import { ChildOutput } from "#libs/cli/dev/child-output.ts";
import { LogFile } from "#libs/cli/dev/log-file.ts";
import { planPorts } from "#libs/cli/dev/port-plan.ts";
import type { Clock } from "#libs/clock/clock.ts";
import { ManualClock } from "#libs/clock/manual-clock.ts";
import { humanScreen, jsonScreen, type Screen } from "#libs/cli/dev/screen.ts";

const time = "2030-01-01T12:00:00.000Z";
const record = (level: string, msg: string, more = {}) =>
  JSON.stringify({ level, time, service: "registry", msg, ...more });

type MakeScreen = (write: (line: string) => void, clock: Clock) => Screen;

async function feed(makeScreen: MakeScreen, lines: readonly [OutputStream, string][]) {
  const shown: string[] = [];
  const clock = new ManualClock();
  await using directory = await mkdtempDisposable(join(tmpdir(), "legion-logs-"));
  const logs = directory.path;
  using output = new ChildOutput(
    "registry",
    makeScreen((line) => shown.push(line), clock),
    logs,
  );
  for (const [stream, line] of lines) output.add(line, stream);
  await clock.advance(1_000);
  return { shown, lastError: output.lastError.take(), logged: readFileSync(join(logs, "registry.log"), "utf8") };
}

const chatter: [OutputStream, string][] = [
  ["stdout", record("info", "listening", { grpc_port: 7401 })],
  ["stdout", record("warn", "slow statement", { ms: 900 })],
  [
    "stdout",
    record("error", "flush failed", { err: { message: "disk full\nreally", stack: "Error: disk full\n    at f" } }),
  ],
  ["stdout", "plain words"],
];

test("a person sees warnings and worse, each as one line with the time and the service; the file has everything", async () => {
  const quiet = await feed((write, clock) => humanScreen(write, { colors: false, clock }), chatter);
  assert.equal(quiet.shown.length, 2);
  assert.match(quiet.shown[0]!, /^\d\d:\d\d:\d\d registry +WARN slow statement ms=900$/);
  assert.match(quiet.shown[1]!, /flush failed[\s\S]*disk full/);
  assert.equal(quiet.lastError, "flush failed: disk full");
  assert.equal(quiet.logged, chatter.map(([, line]) => `${line}\n`).join(""));

  const verbose = await feed((write) => humanScreen(write, { colors: false, threshold: "info" }), chatter);
  assert.equal(verbose.shown.length, 4);

  const stopping = await feed((write) => {
    const screen = humanScreen(write, { colors: false });
    screen.expectEnd();
    return screen;
  }, chatter);
  assert.match(stopping.shown.join(), /^[^,]*flush failed[^,]*$/);
});

test("while a process is away its neighbours' complaints are left out, also those that come before the news", async () => {
  const shown: string[] = [];
  const clock = new ManualClock();
  const screen = humanScreen((line) => shown.push(line.replace(/^\S+ /, "")), { colors: false, clock });
  const warn = (process: string, text: string) =>
    screen.showChildLine(process, { text, record: undefined, level: "warn" }, true);

  warn("agents", "the stream broke");
  warn("registry", "last words");
  await clock.advance(200);
  assert.deepEqual(shown, []);
  screen.tell({ event: "process_ended", process: "registry", level: "warn", text: "ended" });
  assert.deepEqual(shown, ["registry   WARN last words", "registry   WARN ended"]);

  warn("agents", "cannot reach the Registry");
  await clock.advance(10_000);
  screen.tell({ event: "process_ready", process: "registry", text: "is ready again" });
  warn("agents", "still trying");
  screen.showChildLine("agents", { text: "dying", record: undefined, level: "fatal" }, true);
  await clock.advance(1_000);
  warn("agents", "something else");
  await clock.advance(300);
  assert.deepEqual(shown.slice(2), [
    "registry   is ready again",
    "agents     FATAL dying",
    "agents     WARN something else",
  ]);
});

test("colours are escape codes around the same words", async () => {
  const painted = await feed((write, clock) => humanScreen(write, { colors: true, clock }), chatter);
  const plain = await feed((write, clock) => humanScreen(write, { colors: false, clock }), chatter);
  assert.notDeepEqual(painted.shown, plain.shown);
  assert.deepEqual(
    painted.shown.map((line) => stripVTControlCharacters(line)),
    plain.shown,
  );
});

test("for a program every line is an object, whatever a child prints, and nothing is left out", async () => {
  const lines: [OutputStream, string][] = [
    ...chatter,
    ["stderr", "    at crash (file.ts:1:1)"],
    ["stdout", "{not json"],
  ];
  const { shown } = await feed((write) => {
    const screen = jsonScreen(write);
    screen.tell({
      event: "process_ended",
      process: "registry",
      level: "warn",
      text: "ended",
      fields: { exit_code: 1 },
    });
    return screen;
  }, lines);
  const objects = shown.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(objects.length, 1 + lines.length);
  const { time: _, ...told } = objects[0]!;
  const expected = {
    level: "warn",
    service: "legion",
    event: "process_ended",
    msg: "ended",
    process: "registry",
    exit_code: 1,
  };
  assert.deepEqual(told, expected);
  assert.equal(objects[1]!["grpc_port"], 7401, "records go through as they are");
  assert.deepEqual(
    objects.slice(-2).map(({ level, service, msg }) => [level, service, msg]),
    [
      ["error", "registry", "    at crash (file.ts:1:1)"],
      ["info", "registry", "{not json"],
    ],
  );
});

test("of a real crash, a person sees the message and where it was, and the message is its last error", async () => {
  const main = fileURLToPath(new URL("fixtures/child.ts", import.meta.url));
  const { stderr } = spawnSync(process.execPath, [main, "complain=on the way", "crash=no luck"], { encoding: "utf8" });
  const lines = stderr.trimEnd().split("\n");
  assert.ok(lines.length > 8, "Node is not brief");
  const { shown, lastError } = await feed(
    (write, clock) => humanScreen(write, { colors: false, clock }),
    lines.map((line) => ["stderr", line]),
  );
  const texts = shown.map((line) => line.replace(/^\S+ registry +ERROR /, ""));
  assert.equal(texts[0], "on the way");
  assert.ok(texts.includes("TypeError: no luck"));
  assert.ok(texts.some((text) => /^ +at .*fixtures\/child\.ts/.test(text)));
  assert.ok(texts.length <= 5, `is brief: ${texts.join("\n")}`);
  assert.equal(lastError, "TypeError: no luck");
});

test("a log keeps the run before, and its last part when it grows", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), "legion-logs-"));
  const path = join(directory.path, "logs", "x.log");
  const [now, before] = [() => readFileSync(path, "utf8"), () => readFileSync(`${path}.1`, "utf8")];
  {
    using first = new LogFile(path, 10);
    first.add("first");
  }
  {
    using second = new LogFile(path, 10);
    assert.deepEqual([now(), before()], ["", "first\n"]);
    second.add("123456789");
    assert.deepEqual([now(), before()], ["123456789\n", "first\n"]);
    second.add("longer than all that fits");
    assert.deepEqual([now(), before()], ["longer than all that fits\n", "123456789\n"]);
  }
  using third = new LogFile(path, 10);
  third.add("x");
  assert.deepEqual([now(), before()], ["x\n", "longer than all that fits\n"]);
});

test("the table is aligned, with and without colours, and the ready line shows a command that works", () => {
  const content = {
    plan: planPorts(8400),
    database: "127.0.0.1:5000 (.legion/postgres)",
    capabilities: ["greet", "sleep"],
    traces: { endpoint: "http://localhost:4318", found: false },
    logs: ".legion/logs",
  };
  const table = addressTable(content, false);
  assert.deepEqual(table, [
    "  Registry    gRPC 127.0.0.1:8401   HTTP http://127.0.0.1:8411",
    "  Dispatcher  gRPC 127.0.0.1:8402   HTTP http://127.0.0.1:8412",
    "  RateLimit   gRPC 127.0.0.1:8403   HTTP http://127.0.0.1:8413",
    "  Watchdog    gRPC 127.0.0.1:8404   HTTP http://127.0.0.1:8414",
    "  Postgres    127.0.0.1:5000 (.legion/postgres)",
    "  Agents      greet, sleep",
    "  Traces to   http://localhost:4318",
    "  Logs        .legion/logs",
  ]);
  assert.equal(
    addressTable(content, true)[5],
    `  ${styleText("bold", "Agents    ", { validateStream: false })}  greet, sleep`,
  );
  assert.match(readyLine(content), /^legion is ready: .*legion run greet '\{"name":"Ada"\}' --port-base 8400$/);
  assert.match(readyLine({ plan: planPorts(7400), capabilities: [] }), /^legion is ready: .*npx legion health$/);
});
