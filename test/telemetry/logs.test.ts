import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { formatLog } from "#libs/telemetry/format-log.ts";
import { createLogger, type LoggerOptions } from "#libs/telemetry/logger.ts";
import { newTraceparent, spanIdOf, traceIdOf } from "#libs/telemetry/traceparent.ts";

function listen(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    service: "registry",
    destination: { write: (line) => void lines.push(line) },
    ...options,
  });
  return { log, lines, records: (): Record<string, any>[] => lines.map((line) => JSON.parse(line)) };
}

test("a record is one line of JSON with the message before the fields", () => {
  const { log, lines, records } = listen({ level: "info" });
  log.debug("too fine");
  log.child({ replica: 2 }).warn("a session\nwas lost", { session_id: "s1", msg: "theirs", count: 3n });
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /^[^\n]*\n$/);
  const [record] = records();
  assert.deepEqual(Object.keys(record ?? {}), [
    "level",
    "time",
    "service",
    "msg",
    "replica",
    "session_id",
    "msg_",
    "count",
  ]);
  assert.equal(record?.["msg"], "a session\nwas lost");
  assert.equal(record?.["level"], "warn");
  assert.equal(new Date(record?.["time"]).toISOString(), record?.["time"]);
});

test("errors keep their stack and their cause under any field name", () => {
  const { log, records } = listen();
  log.error("failed", { problem: new TypeError("outer", { cause: new Error("inner") }) });
  const problem = records()[0]?.["problem"];
  assert.deepEqual([problem.type, problem.message, problem.cause.message], ["TypeError", "outer", "inner"]);
  assert.match(problem.stack, /TypeError: outer\n +at .*logs\.test/);
});

test("trace ids are on every record of a logger with a trace, and an invalid one changes nothing", () => {
  const { log, records } = listen();
  const traceparent = newTraceparent();
  log.withTrace(traceparent).info("one");
  log.withTrace("garbage").info("two");
  log.withTrace(undefined).info("three");
  assert.deepEqual(
    records().map((record) => [record["trace_id"], record["span_id"]]),
    [
      [traceIdOf(traceparent), spanIdOf(traceparent)],
      [undefined, undefined],
      [undefined, undefined],
    ],
  );
});

test("no secret reaches the line, wherever it stands", () => {
  const { log, lines } = listen();
  const dsn = "postgres://legion:hunter2@db:5432/legion?sslpassword=hunter2&x=1";
  log.info(`connecting to ${dsn}`, { dsn, nested: { password: "hunter2", api_key: 'hun"ter2', tokens: 12 } });
  log.error("failed", { err: new Error(`cannot reach ${dsn}`, { cause: new Error("https://u:p@hunter2@host/") }) });
  assert.doesNotMatch(lines.join(""), /hunter2|hun\\"ter2/);
  assert.match(lines[0] ?? "", /postgres:\/\/legion:\*{4}@db:5432\/legion\?sslpassword=\*{4}&x=1/);
  assert.equal(JSON.parse(lines[0] ?? "").nested.tokens, 12);
  for (const line of lines) JSON.parse(line);
});

test("standard output gets the records, LOG_LEVEL decides which, a wrong LOG_LEVEL is named", () => {
  const script = `import { createLogger } from "#libs/telemetry/logger.ts";
    const log = createLogger({ service: "registry" }); log.debug("fine"); log.info("plain"); log.error("bad"); process.exit();`;
  const said = (level: string): string[] =>
    execFileSync(process.execPath, ["--input-type=module", "-e", script], {
      env: { ...process.env, LOG_LEVEL: level },
      encoding: "utf8",
    })
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).msg);
  assert.deepEqual(said("debug"), ["fine", "plain", "bad"]);
  assert.deepEqual(said("ERROR"), ["bad"]);
  const wrong = said("loud");
  assert.match(wrong[0] ?? "", /^LOG_LEVEL=loud is not one of debug, info, warn, error, fatal; info is used$/);
  assert.deepEqual(wrong.slice(1), ["plain", "bad"]);
});

test("a person reads time, service, message and fields; other lines are left alone", () => {
  const record = {
    level: "info",
    time: new Date(2030, 0, 1, 12, 3, 4).toISOString(),
    service: "registry",
    msg: "ready",
  };
  const line = (more: object) => JSON.stringify({ ...record, ...more });
  assert.equal(
    formatLog(line({ port: 7401, name: "two words" })),
    '12:03:04 registry   ready port=7401 name="two words"',
  );
  assert.equal(
    formatLog(line({ level: "error", msg: "failed", err: { message: "x", stack: "Error: x\n    at y" } })),
    "12:03:04 registry   ERROR failed\n    Error: x\n        at y",
  );
  const colored = formatLog(line({ port: 1 }), { colors: true });
  assert.notEqual(colored, formatLog(line({ port: 1 })));
  assert.equal(stripVTControlCharacters(colored), formatLog(line({ port: 1 })));
  for (const other of ["", "plain text", "{ not json", '{"a":1}'])
    assert.equal(formatLog(other, { colors: true }), other);
});
