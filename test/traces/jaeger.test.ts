import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type TraceNode, type TraceSpan, traceTree } from "#libs/cli/trace/trace-span.ts";
import { whyNoPython } from "../agents/python/environments.ts";
import { runCli } from "../harness/run-cli.ts";
import { run } from "../harness/run-program.ts";
import { whyNoGo } from "../tools/go-tools.ts";
import { type MixedPath, runMixedPath, spanCount } from "./mixed-path.ts";

const skip = whyNoGo() ?? whyNoPython();
if (skip !== undefined) console.error(`SKIPPED: no trace is taken to Jaeger, for ${skip}`);

const expected = `
client: order
  client: send report
    legion-dispatcher: submit report
      legion-dispatcher: assign report 1
        legion-registry: deliver report 1
          reporter: execute report 1
            reporter: read the sources
            reporter: send echo
              legion-dispatcher: submit echo
                legion-dispatcher: assign echo 1
                  legion-registry: deliver echo 1
                    worker: execute echo 1
                legion-dispatcher: finish echo 1
                legion-dispatcher: wait echo 1
      legion-dispatcher: finish report 1
      legion-dispatcher: wait report 1
  client: send sleep
    legion-dispatcher: submit sleep
      legion-dispatcher: assign sleep 1
        legion-registry: deliver sleep 1
          reporter: execute sleep 1 - this machine goes down
      legion-dispatcher: assign sleep 2
        legion-registry: deliver sleep 2
          worker: execute sleep 2
      legion-dispatcher: finish sleep 1 - GoingDown: this machine goes down
      legion-dispatcher: finish sleep 2
      legion-dispatcher: wait sleep 1
      legion-dispatcher: wait sleep 2
`.trim();

describe("one trace in Jaeger, over three languages", { skip: skip ?? false, timeout: 180_000 }, () => {
  let path: MixedPath;
  const beganMs = Date.now();
  before(async () => {
    path = await runMixedPath();
  });
  after(() => path?.[Symbol.asyncDispose]());

  const named = (name: string, attempt?: number): TraceSpan => {
    const found = path.spans.find(
      (span) => span.name === name && (attempt === undefined || span.attributes["legion.attempt"] === attempt),
    );
    assert.ok(found, `${name} ${attempt}`);
    return found;
  };

  test("every span is there once, under its parent, of the service that made it, and what failed is marked", () => {
    assert.equal(traceTree(path.spans).map(textOf).join("\n"), expected);
    assert.equal(new Set(path.spans.map(({ spanId }) => spanId)).size, spanCount);
    const roots = traceTree(path.spans);
    assert.deepEqual(
      roots.map(({ span, orphan }) => [span.name, orphan]),
      [["order", false]],
    );
  });

  test("no other trace has a span of these tasks", async () => {
    const response = await fetch(`${path.jaeger.url}/api/traces?service=legion-dispatcher&limit=1000&lookback=1h`);
    const { data } = (await response.json()) as { data: { traceID: string; spans: unknown[] }[] };
    const withTasks = data.filter(({ spans }) => /night-1|report-1/.test(JSON.stringify(spans)));
    assert.deepEqual(
      withTasks.map(({ traceID }) => traceID),
      [path.traceId],
    );
  });

  test("an execution says the same in each language", () => {
    const executions = path.spans.filter(({ name }) => name.startsWith("execute"));
    const facts = executions.map(({ attributes }) =>
      ["messaging.operation.type", "messaging.operation.name", "messaging.system", "legion.namespace", "span.kind"].map(
        (name) => attributes[name],
      ),
    );
    assert.equal(facts.length, 4);
    for (const each of facts) assert.deepEqual(each, ["process", "execute", "legion", "default", "consumer"]);
    const failed = named("execute sleep", 1).attributes;
    assert.deepEqual(
      ["legion.outcome", "error.type", "legion.retryable", "legion.agent.id", "messaging.message.id"].map(
        (name) => failed[name],
      ),
      ["failed", "GoingDown", true, "reporter", path.retriedTaskId],
    );
    const done = named("execute sleep", 2).attributes;
    assert.deepEqual([done["legion.outcome"], done["legion.agent.id"]], ["completed", "worker"]);
    assert.equal(named("finish sleep", 1).attributes["legion.outcome"], "retry");
  });

  test("legion trace shows the part that is the task's, or all of it", async () => {
    const legion = async (...args: string[]): Promise<string[]> => {
      const { code, stdout, stderr } = await runCli(
        ["trace", path.retriedTaskId, "--jaeger", path.jaeger.url, ...args],
        {
          env: path.mesh.env,
        },
      );
      assert.equal(code, 0, stderr);
      return [...stdout.trimEnd().split("\n"), ...stderr.trimEnd().split("\n")];
    };
    const lines = await legion();
    assert.match(lines[0] ?? "", /^task {3}night-1 {2}sleep {2}COMPLETED, attempt 2 of 3$/);
    assert.match(lines[1] ?? "", new RegExp(`^trace {2}${path.traceId} {2}13 spans in [\\d.]+ m?s$`));
    const failed = lines.findIndex((line) => /execute sleep #1 +reporter/.test(line));
    assert.match(lines[failed + 1] ?? "", /^[│ ]+✗ this machine goes down$/);
    assert.equal(lines.at(-1), "15 more spans of the same trace: --all");
    const all = await legion("--all");
    assert.ok(all.some((line) => /execute echo #1 +worker/.test(line)));
  });

  test("the page of a trace loads scripts that a browser can run", async () => {
    const html = await (await fetch(`${path.jaeger.url}/trace/${path.traceId}`)).text();
    const open = [...html.matchAll(/from "\/static\/([\w-]+\.js)"/g)].map(([, name = ""]) => name);
    const seen = new Set<string>();
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (seen.has(name)) continue;
      seen.add(name);
      const response = await fetch(`${path.jaeger.url}/static/${name}`);
      assert.equal(response.status, 200, name);
      assert.match(response.headers.get("content-type") ?? "", /javascript/);
      const script = await response.text();
      await run(process.execPath, ["--input-type=module", "--check"], { input: script });
      for (const [, from = ""] of script.matchAll(/^import .*? from "([^"]+)";/gm)) {
        assert.match(from, /^\.\/[\w-]+\.js$/, name);
        open.push(from.slice(2));
      }
    }
    assert.ok(seen.has("draw-trace.js") && seen.has("attributes.js"), [...seen].join());
  });

  test("times fit together", () => {
    // The Dispatcher's spans have whole milliseconds, and another clock than performance.now().
    const slackUs = 5_000;
    for (const { name, startUs, durationUs } of path.spans) {
      assert.ok(durationUs >= 0, name);
      assert.ok(startUs >= beganMs * 1_000 - slackUs && startUs + durationUs <= Date.now() * 1_000 + slackUs, name);
    }
    const check = ({ span, children }: TraceNode): void => {
      for (const child of children) {
        assert.ok(child.span.startUs >= span.startUs - slackUs, `${child.span.name} begins before ${span.name}`);
        check(child);
      }
    };
    traceTree(path.spans).forEach(check);
    const end = ({ startUs, durationUs }: TraceSpan): number => startUs + durationUs;
    for (const attempt of [1, 2]) {
      const steps = ["wait", "assign", "deliver", "execute"].map((step) => named(`${step} sleep`, attempt));
      for (const [index, step] of steps.entries()) {
        const former = steps[index - 1];
        const earliestUs = former === undefined ? 0 : index === 1 ? end(former) : former.startUs;
        assert.ok(step.startUs >= earliestUs - slackUs, `${step.name} ${attempt} is early`);
      }
      assert.ok(end(named("finish sleep", attempt)) >= end(named("execute sleep", attempt)) - slackUs);
      assert.ok(named("execute sleep", attempt).durationUs >= 290_000);
    }
    // Nobody was there when it came: the agent was started then, and the other one when that had ended.
    assert.ok(named("wait sleep", 1).durationUs > 50_000);
    assert.ok(named("wait sleep", 2).startUs >= end(named("execute sleep", 1)) - slackUs);
    assert.ok(named("execute sleep", 2).startUs >= end(named("execute sleep", 1)) - slackUs);
  });
});

/** Siblings by name, for they run side by side. */
function textOf({ span, children, orphan }: TraceNode): string {
  const { service, name, failed, failure, attributes } = span;
  const attempt = attributes["legion.attempt"] === undefined ? "" : ` ${String(attributes["legion.attempt"])}`;
  const line = `${service}: ${name}${attempt}${failed ? ` - ${failure}` : ""}${orphan ? " ORPHAN" : ""}`;
  const below = children.map((child) => textOf(child).replaceAll(/^/gm, "  "));
  return [line, ...below.toSorted()].join("\n");
}
