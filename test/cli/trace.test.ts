import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { renderTrace } from "#libs/cli/trace/render-trace.ts";
import { timeText } from "#libs/cli/trace/span-time.ts";
import { traceOfRecord } from "#libs/cli/trace/from-record.ts";
import { spansOfTask } from "#libs/cli/trace/task-spans.ts";
import type { TraceSpan } from "#libs/cli/trace/trace-span.ts";
import { FailedSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { type Task, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { newTraceparent, traceIdOf } from "#libs/telemetry/traceparent.ts";
import { create } from "@bufbuild/protobuf";
import { completed, failed } from "../client/payloads.ts";
import { StubDispatcher } from "../client/stub-dispatcher.ts";
import { freePorts } from "../harness/free-ports.ts";
import { portOf } from "../harness/port-of.ts";
import { type CliResult, runCli } from "../harness/run-cli.ts";

const beginUs = 1_900_000_000_000_000;
const span = (
  id: string,
  parent: string,
  name: string,
  at: [number, number],
  more: Partial<TraceSpan> = {},
): TraceSpan => ({
  spanId: id,
  parentId: parent || undefined,
  name,
  service: "client",
  startUs: beginUs + at[0],
  durationUs: at[1],
  failed: false,
  failure: "",
  attributes: {},
  ...more,
});
const ofTask = (taskId: string, attempt = 0) => ({
  attributes: { "messaging.message.id": taskId, ...(attempt > 0 && { "legion.attempt": attempt }) },
});
const order: readonly TraceSpan[] = [
  span("a", "", "order", [0, 2_000_000]),
  span("b", "a", "send nap", [1_000, 1_500_000], ofTask("t-1")),
  span("d", "b", "wait nap", [2_000, 900_000], { ...ofTask("t-1", 1), service: "legion-dispatcher" }),
  span("c", "b", "execute nap", [902_000, 310], {
    ...ofTask("t-1", 1),
    service: "napper",
    failed: true,
    failure: "no\u001b[31m bed",
  }),
  span("e", "a", "send other", [1_600_000, 400_000], ofTask("t-2")),
  span("f", "gone", "execute other", [1_700_000, 100_000], ofTask("t-2", 1)),
];

describe("what is shown", () => {
  test("a tree with times, attempts, what failed and what is missing", () => {
    assert.deepEqual(renderTrace(order), [
      "SPAN                SERVICE              START     TIME",
      "order               client                   0   2.00 s",
      "├ send nap          client             +1.0 ms   1.50 s",
      "│ ├ wait nap #1     legion-dispatcher  +2.0 ms   900 ms",
      "│ └ execute nap #1  napper             +902 ms  0.31 ms",
      "│     ✗ no\\x1b[31m bed",
      "└ send other        client             +1.60 s   400 ms",
      "execute other #1    client             +1.70 s   100 ms",
      "  its parent did not come",
    ]);
  });

  test("fits a terminal, with bars in proportion", () => {
    for (const width of [60, 80, 100, 200]) {
      const lines = renderTrace(order, { width });
      assert.ok(
        lines.every((line) => line.length <= width),
        lines.join("\n"),
      );
    }
    const [, root, send, wait, execute] = renderTrace(order, { width: 100 });
    const bar = (line = ""): [number, number] => [line.search(/[█▏]/), (/[█▏]+/.exec(line)?.[0] ?? "").length];
    const [from, cells] = bar(root);
    assert.deepEqual(bar(send), [from, Math.round(cells * 0.7505)]);
    assert.deepEqual(bar(wait), [from, Math.round(cells * 0.451)]);
    assert.deepEqual(bar(execute), [from + Math.floor(cells * 0.451), 1]);
  });

  test("of a trace with other tasks, this task's spans, those below and the way up", () => {
    assert.deepEqual(
      spansOfTask(order, "t-1")
        .map(({ spanId }) => spanId)
        .join(""),
      "abdc",
    );
    assert.deepEqual(
      spansOfTask(order, "t-2")
        .map(({ spanId }) => spanId)
        .join(""),
      "aef",
    );
    assert.deepEqual(spansOfTask(order, "t-3"), []);
  });

  test("lengths of time have three digits at most", () => {
    const texts = [0, 310, 994, 4_200, 9_949, 9_950, 999_499, 999_500, 59_994_000, 125_000_000, 7_260e6, 100_000e6];
    assert.deepEqual(texts.map(timeText), [
      ...["0.00 ms", "0.31 ms", "0.99 ms", "4.2 ms", "9.9 ms", "10 ms", "999 ms", "1.00 s"],
      ...["59.99 s", "2 min 5 s", "2 h 1 min", "1 d 3 h"],
    ]);
  });
});

describe("the record of a task", () => {
  const at = (ms: number) => timestampFromMs(beginUs / 1_000 + ms);
  const steps = (task: Partial<Task>, nowMs = 9_000) => {
    const whole = { capability: "nap", attempt: 0, agentId: "napper-1", submitTime: at(0), ...task } as Task;
    const { spans, gaps } = traceOfRecord(whole, beginUs / 1_000 + nowMs);
    return {
      steps: spans.map(({ name, startUs, durationUs }) => [name, (startUs - beginUs) / 1_000, durationUs / 1_000]),
      gaps,
      failed: spans.filter((each) => each.failed).map(({ name, failure }) => [name, failure]),
    };
  };

  test("done at the first attempt, it has all there is", () => {
    const done = {
      attempt: 1,
      state: TaskState.COMPLETED,
      outcome: completed({}),
      startTime: at(100),
      finishTime: at(300),
    };
    assert.deepEqual(steps(done), {
      steps: [
        ["task nap", 0, 300],
        ["wait nap", 0, 100],
        ["execute nap", 100, 200],
      ],
      gaps: [],
      failed: [],
    });
  });

  test("of earlier attempts it says that it knows no times", () => {
    const lastFailure = create(FailedSchema, { code: "E", message: "no" });
    const dead = {
      attempt: 3,
      state: TaskState.DEAD,
      outcome: failed("E", "no"),
      startTime: at(700),
      finishTime: at(900),
    };
    assert.deepEqual(steps({ ...dead, lastFailure }), {
      steps: [
        ["task nap", 0, 900],
        ["execute nap", 700, 200],
      ],
      gaps: ["Of attempts 1 to 2 it keeps no times, nor of how long the task waited. The last failure was E: no"],
      failed: [
        ["task nap", "E: no"],
        ["execute nap", "E: no"],
      ],
    });
    const rests = { attempt: 1, state: TaskState.SCHEDULED, startTime: at(100) };
    assert.deepEqual(
      steps(rests).steps.map(([name]) => name),
      ["task nap (not over)", "wait nap"],
    );
    assert.deepEqual(steps(rests).gaps, ["Attempt 1 is over; of its end it keeps no time."]);
  });

  test("what is not over lasts until now", () => {
    assert.deepEqual(steps({ state: TaskState.QUEUED }).steps, [
      ["task nap (not over)", 0, 9_000],
      ["wait nap (not over)", 0, 9_000],
    ]);
    assert.deepEqual(steps({ state: TaskState.LEASED, attempt: 1, startTime: at(8_000) }).steps.slice(1), [
      ["wait nap", 0, 8_000],
      ["execute nap (not over)", 8_000, 1_000],
    ]);
  });
});

describe("legion trace", { concurrency: 3 }, () => {
  let stub: StubDispatcher;
  let nowhere = 0;
  let elsewhere = 0;
  const traceparent = newTraceparent();
  const traceId = traceIdOf(traceparent) ?? "";
  // As the real one answers; test/traces asks that.
  const jaeger = createServer((request, response) => {
    const tags = [{ key: "messaging.message.id", type: "string", value: "t-1" }];
    const spans = [{ spanID: "b", operationName: "send nap", startTime: 1, duration: 2, tags, processID: "p1" }];
    const found = { data: [{ traceID: traceId, spans, processes: { p1: { serviceName: "client" } } }] };
    const missing = { data: null, errors: [{ code: 404, msg: "trace not found" }] };
    const isHere = request.url === `/jaeger/api/traces/${traceId}?raw=true`;
    response.writeHead(isHere ? 200 : 404).end(JSON.stringify(isHere ? found : missing));
  });
  const page = createServer((_, response) => response.end("<html>"));
  const legion = (args: string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> =>
    runCli(["trace", ...args], { env: { ...stub.env, JAEGER_URL: "", ...env } });

  before(async () => {
    [nowhere = 0] = await freePorts(1);
    for (const server of [jaeger, page]) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }
    elsewhere = portOf(jaeger);
    stub = await StubDispatcher.start({ play: () => undefined });
    for (const taskId of ["t-1", "t-2"]) await runCli(["submit", "nap", "--task-id", taskId], { env: stub.env });
    stub.tasks.get("t-1")!.traceparent = traceparent;
    stub.tasks.get("t-2")!.traceparent = newTraceparent();
  });
  after(async () => {
    jaeger.close();
    page.close();
    await stub.down();
  });

  test("from Jaeger, by the flag or the environment", async () => {
    const url = `http://127.0.0.1:${elsewhere}/jaeger/`;
    const { code, stdout, stderr } = await legion(["t-1", "--jaeger", url]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(
      stdout,
      `task   t-1  nap  QUEUED\ntrace  ${traceId}  1 span in 0.00 ms\nfrom   ${url}trace/${traceId}\n\n` +
        "SPAN      SERVICE  START     TIME\nsend nap  client       0  0.00 ms\n",
    );
    const json = JSON.parse((await legion(["t-1", "--json"], { JAEGER_URL: url })).stdout) as Record<string, unknown>;
    assert.deepEqual([json["source"], json["trace_id"], json["url"]], ["jaeger", traceId, `${url}trace/${traceId}`]);
    const attributes = { "messaging.message.id": "t-1" };
    const times = { start_us: 1, duration_us: 2, failed: false, failure: "" };
    assert.deepEqual(json["spans"], [
      { span_id: "b", parent_id: null, name: "send nap", service: "client", ...times, attributes },
    ]);
  });

  test("from the record, if Jaeger does not have it", async () => {
    const { code, stdout, stderr } = await legion(["t-2", "--jaeger", `http://127.0.0.1:${elsewhere}/jaeger`]);
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^task {3}t-2 {2}nap {2}QUEUED\ntrace {2}[\da-f]{32}\nfrom {3}the task's own record\n\nSPAN .*\ntask nap \(not over\)/,
    );
    assert.match(stderr, /^Jaeger at http:\S+ does not have this trace: .*OTEL_EXPORTER_OTLP_ENDPOINT.*\n$/);
  });

  const refused: [string, () => string[], number, RegExp][] = [
    [
      "a Jaeger that was asked for and does not answer",
      () => ["t-1", "--jaeger", `http://127.0.0.1:${nowhere}`],
      3,
      /No Jaeger answers at http:.*ECONNREFUSED/,
    ],
    [
      "what is no Jaeger",
      () => ["t-1", "--jaeger", `http://127.0.0.1:${portOf(page)}`],
      3,
      /is no Jaeger: it sent no JSON/,
    ],
    ["what is no address", () => ["t-1", "--jaeger", "127.0.0.1:16686"], 2, /Expected an address, such as http:/],
    ["an unknown task", () => ["t-9"], 1, /There is no task t-9/],
  ];
  for (const [what, args, expected, message] of refused) {
    test(`${what} is exit code ${expected}`, async () => {
      const { code, stdout, stderr } = await legion(args());
      assert.deepEqual([code, stdout], [expected, ""]);
      assert.match(stderr, message);
    });
  }
});
