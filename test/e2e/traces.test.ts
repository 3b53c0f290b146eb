import assert from "node:assert/strict";
import { after, test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import { startMesh } from "../harness/mesh.ts";
import { type Span, startOtlpCollector } from "../harness/otlp-collector.ts";
import { waitFor } from "../harness/wait-for.ts";

const collector = await startOtlpCollector();
const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, OTEL_BSP_SCHEDULE_DELAY: "50" };
Object.assign(process.env, tracing);
const telemetry = await startTelemetry({ serviceName: "client", serviceVersion: "1", instanceId: "1" });
after(async () => {
  await telemetry[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
});

const ended = (spans: Span[], name: RegExp): Span[] => spans.filter((span) => name.test(span.name));

test("one task is one trace, through a queue wait, a retry and a restart of the Dispatcher", async () => {
  await using mesh = await startMesh({ env: { ...tracing, LOG_LEVEL: "debug" } });
  await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });
  const data = { times: 1, message: "once" };
  const result = core.dispatchTask("traced", data, "fail", { retryPolicy: { initialDelayMs: 20 } });
  // A span that its process could not send any more is lost; this is about those that were sent.
  await collector.waitFor((all) => ended(all, /^submit/).length > 0);
  await mesh.kill("dispatcher");
  await mesh.restart("dispatcher");
  await mesh.startAgents();
  assert.deepEqual(await result, { attempt: 2 });

  const isOfTask = ({ attributes }: Span): boolean => attributes["messaging.message.id"] === "traced";
  const all = await collector.waitFor(
    (received) => ended(received, /^send/).some(isOfTask) && ended(received, /^finish/).filter(isOfTask).length === 2,
  );
  const root = ended(all, /^send/).find(isOfTask);
  assert.ok(root);
  assert.deepEqual([root.service, root.parentSpanId, root.kind, root.name], ["client", "", "producer", "send fail"]);

  // Whatever was said of the task was said in this one trace, and the other way round.
  const spans = all.filter(isOfTask);
  const { traceId } = root;
  assert.deepEqual(
    spans.filter((span) => span.traceId !== traceId).map(({ name }) => name),
    [],
  );
  assert.deepEqual(
    all.filter((span) => span.traceId === traceId && !isOfTask(span)).map(({ name }) => name),
    [],
  );
  assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, spans.length);

  // The client hands the task over again after the restart, which is a second submit of the same task.
  const steps = spans.map(({ service, name, attributes }) =>
    [service, name.split(" ")[0], attributes["legion.attempt"]].filter((part) => part !== undefined).join(" "),
  );
  assert.deepEqual(
    [...new Set(steps)].toSorted(),
    [
      "agents execute 1",
      "agents execute 2",
      "client send",
      "dispatcher assign 1",
      "dispatcher assign 2",
      "dispatcher finish 1",
      "dispatcher finish 2",
      "dispatcher submit",
      "dispatcher wait 1",
      "dispatcher wait 2",
      "registry deliver 1",
      "registry deliver 2",
    ].map((step) => step.replace(/^(dispatcher|registry)/, "legion-$1")),
  );

  // A tree: every parent is there, and the way up from each span ends at the client.
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const parentOf = (span: Span): Span => {
    const parent = byId.get(span.parentSpanId);
    assert.ok(parent, `${span.name} has a parent that nobody sent`);
    return parent;
  };
  for (const span of spans) {
    let top = span;
    for (let depth = 0; top !== root; depth++) {
      assert.ok(depth < 10, `${span.name} is below the root`);
      top = parentOf(top);
    }
  }
  for (const attempt of [1, 2]) {
    const of = (name: string): Span =>
      spans.find((span) => span.name.startsWith(name) && span.attributes["legion.attempt"] === attempt)!;
    assert.equal(parentOf(of("execute")), of("deliver"));
    assert.equal(parentOf(of("deliver")), of("assign"));
    assert.match(parentOf(of("assign")).name, /^submit/);
    assert.match(parentOf(of("wait")).name, /^submit/);
    assert.match(parentOf(of("finish")).name, /^submit/);
    const wait = of("wait");
    assert.ok(wait.startTimeMs <= wait.endTimeMs && wait.endTimeMs <= of("execute").endTimeMs);
    const outcomes = ["execute", "finish"].map((name) => of(name).attributes["legion.outcome"]);
    assert.deepEqual(outcomes, attempt === 1 ? ["failed", "retry"] : ["completed", "completed"]);
  }
  assert.equal(
    spans.find(({ name, status }) => name.startsWith("finish") && status === "error")?.statusMessage,
    "DEMO_FAILURE: once",
  );

  // OpenTelemetry's messaging conventions.
  const operations: Record<string, [type: string, kind: Span["kind"]]> = {
    send: ["send", "producer"],
    submit: ["create", "server"],
    wait: ["create", "internal"],
    assign: ["send", "producer"],
    deliver: ["send", "producer"],
    execute: ["process", "consumer"],
    finish: ["settle", "internal"],
  };
  for (const { name, kind, attributes } of spans) {
    const [operation = ""] = name.split(" ");
    assert.deepEqual(
      [
        attributes["messaging.system"],
        attributes["messaging.destination.name"],
        attributes["messaging.operation.type"],
        kind,
        attributes["legion.namespace"],
      ],
      ["legion", "fail", ...operations[operation]!, "default"],
      name,
    );
  }

  // A stream's own span is no part of a task's trace.
  const connects = ended(all, /RegistryService\/Connect$/);
  assert.equal(connects.length, 4);
  assert.ok(connects.every((span) => span.traceId !== traceId && span.attributes["rpc.method"] === "Connect"));

  // Where somebody writes a log of the task, the trace is on it.
  const records = [...mesh.processes.values()].flatMap(({ records: written }) => written);
  const ofTask = records.filter(({ task_id }) => task_id === "traced");
  assert.ok(ofTask.length > 0, "the agent writes of the failed attempt");
  for (const record of ofTask) assert.equal(record["trace_id"], traceId, JSON.stringify(record));
});

test("many tasks are as many traces, each with all its steps", async () => {
  await using mesh = await startMesh({ env: tracing, agents: true });
  await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });
  const taskIds = Array.from({ length: 100 }, (_, n) => `many-${n}`);
  await Promise.all(taskIds.map((taskId) => core.dispatchTask(taskId, { name: taskId }, "greet")));
  const steps = (all: Span[], taskId: string): Span[] =>
    all.filter(({ attributes }) => attributes["messaging.message.id"] === taskId);
  let seen: Span[] = [];
  await waitFor(
    () => {
      seen = collector.spans();
      return taskIds.every((taskId) => steps(seen, taskId).length === 7);
    },
    {
      describe: () =>
        `seven spans of each task; the first has ${steps(seen, "many-0")
          .map(({ name }) => name)
          .join()}`,
    },
  );
  const traces = taskIds.map((taskId) => new Set(steps(seen, taskId).map(({ traceId }) => traceId)));
  assert.ok(traces.every((trace) => trace.size === 1));
  assert.equal(new Set(traces.flatMap((trace) => [...trace])).size, taskIds.length);
});
