import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { pythonWithTraces } from "../agents/python/environments.ts";
import { AgentProcess } from "../conformance/agent-process.ts";
import { runClient } from "../conformance/client-process.ts";
import { go } from "../conformance/languages/go.ts";
import { java } from "../conformance/languages/java.ts";
import { python } from "../conformance/languages/python.ts";
import type { Command, Language, Programs } from "../conformance/language.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { type OtlpCollector, type Span, startOtlpCollector } from "../harness/otlp-collector.ts";

/** As the suite runs it, but with what sends spans. */
const tracedPython: Language = {
  ...python,
  async prepare(): Promise<Programs> {
    const [{ agent, client }, file] = await Promise.all([python.prepare(), pythonWithTraces()]);
    const traced = (command: Command): Command => ({ ...command, file });
    return { agent: traced(agent), client: traced(client) };
  },
};

describe("each language's agent and client send the same spans", () => {
  let collector: OtlpCollector;
  let mesh: Mesh;
  let core: LegionCore;
  let env: Record<string, string>;
  before(async () => {
    collector = await startOtlpCollector();
    const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, OTEL_BSP_SCHEDULE_DELAY: "50" };
    mesh = await startMesh({ env: tracing });
    core = new LegionCore({ dispatcher: mesh.dispatcher.address });
    env = { ...tracing, LEGION_REGISTRY: mesh.registry.address, LEGION_DISPATCHER: mesh.dispatcher.address };
  });
  after(async () => {
    await core?.[Symbol.asyncDispose]();
    await mesh?.[Symbol.asyncDispose]();
    await collector?.[Symbol.asyncDispose]();
  });

  for (const language of [tracedPython, go, java]) {
    const { name } = language;
    const why = language.whyNot();
    if (why !== undefined) console.error(`SKIPPED: no spans of ${name} are tried, for ${why}`);
    test(name, { skip: why ?? false, timeout: 280_000 }, async () => {
      const programs = await language.prepare();
      await using agent = new AgentProcess(`${name}-1`, programs.agent, env);
      await agent.until("connected", 1);
      const taskId = `${name}-echo`;
      const { code, stderr } = await runClient(programs.client, ["echo", "{}", "--task-id", taskId], env);
      assert.equal(code, 0, stderr);
      const failed = core.dispatchTask(`${name}-fail`, { message: "no", retryable: false, code: "Nope" }, "fail");
      await assert.rejects(failed, /no/);

      const named = (all: Span[], span: string, task: string): Span | undefined =>
        all.find((each) => each.name === span && each.attributes["messaging.message.id"] === task);
      const wanted: [string, string][] = [
        ["send echo", taskId],
        ["submit echo", taskId],
        ["deliver echo", taskId],
        ["execute echo", taskId],
        ["execute fail", `${name}-fail`],
        ["deliver fail", `${name}-fail`],
      ];
      const all = await collector.waitFor((received) => wanted.every(([span, task]) => named(received, span, task)));
      const [send, submit, deliver, execute, failing, deliverFailing] = wanted.map(([span, task]) =>
        named(all, span, task)!,
      );
      assert.ok(send && submit && deliver && execute && failing && deliverFailing);
      assert.deepEqual(
        [send.service, send.kind, send.parentSpanId, submit.parentSpanId, submit.traceId],
        [`${name}-client`, "producer", "", send.spanId, send.traceId],
      );
      assert.deepEqual(
        [execute.service, execute.kind, execute.parentSpanId, execute.traceId, failing.parentSpanId],
        [`${name}-example`, "consumer", deliver.spanId, send.traceId, deliverFailing.spanId],
      );
      const { "messaging.message.body.size": size, ...attributes } = execute.attributes;
      assert.equal(size, 2);
      assert.deepEqual(attributes, {
        "messaging.system": "legion",
        "messaging.operation.type": "process",
        "messaging.operation.name": "execute",
        "messaging.destination.name": "echo",
        "messaging.message.id": taskId,
        "legion.namespace": "default",
        "legion.attempt": 1,
        "legion.agent.id": `${name}-1`,
        "legion.agent.name": `${name}-example`,
        "legion.agent.version": "1.0.0",
        "legion.outcome": "completed",
      });
      assert.deepEqual([execute.status, failing.status, failing.statusMessage], ["unset", "error", "no"]);
      assert.deepEqual(
        ["error.type", "legion.retryable", "legion.outcome"].map((key) => failing.attributes[key]),
        ["Nope", false, "failed"],
      );
    });
  }
});
