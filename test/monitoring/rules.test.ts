import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { finish, repositoryRoot } from "../harness/run-program.ts";
import { whyNoGo } from "../tools/go-tools.ts";
import { prometheusTools } from "../tools/prometheus.ts";
import { knownSeries, unknownNames } from "./expression.ts";
import { Prometheus, rulesFile } from "./prometheus.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: the Prometheus rules are not tested, for ${skip}`);
// Prometheus is built at the first run.
const options = { skip, timeout: 1_200_000 };

interface ValuesSchema {
  readonly properties: {
    readonly prometheusRule: { readonly properties: { readonly alerts: { readonly properties: object } } };
  };
}

const unitTests = globSync(join(import.meta.dirname, "rules/*.yaml")).toSorted();

test("each alert fires when it should, and not when it should not", options, async () => {
  const promtool = join(await prometheusTools(), "promtool");
  const checked = await finish(promtool, ["check", "rules", "--lint=all", "--lint-fatal", rulesFile]);
  assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  const { code, stdout, stderr } = await finish(promtool, ["test", "rules", ...unitTests]);
  assert.equal(code, 0, stdout + stderr);
  assert.equal(stdout.match(/SUCCESS/g)?.length, unitTests.length, stdout);
});

test("every alert has a test, says what to do, and is made of what there is", options, async () => {
  await using prometheus = await Prometheus.start([rulesFile]);
  const rules = await prometheus.rules();
  const alerts = rules.filter(({ type }) => type === "alerting");
  const tested = new Set(
    unitTests.flatMap((file) =>
      [...readFileSync(file, "utf8").matchAll(/labels: ALERTS\{alertname="(\w+)"/g)].map(([, name]) => name!),
    ),
  );
  assert.ok(alerts.length > 20);
  assert.deepEqual([...tested].toSorted(), alerts.map(({ name }) => name).toSorted());
  for (const { name, labels, annotations } of alerts) {
    assert.match(labels?.["severity"] ?? "", /^(critical|warning|info)$/, name);
    assert.match(annotations?.["summary"] ?? "", /^\S.{10,}[^.]$/, name);
    assert.match(annotations?.["description"] ?? "", /^\S.{10,}\.$/, name);
    assert.equal(annotations?.["runbook_url"], `docs/alerts.md#${name.toLowerCase()}`);
  }
  const schema = readFileSync(join(repositoryRoot, "helm/legion/values.schema.json"), "utf8");
  const changeable = (JSON.parse(schema) as ValuesSchema).properties.prometheusRule.properties.alerts.properties;
  assert.deepEqual(Object.keys(changeable).toSorted(), alerts.map(({ name }) => name).toSorted(), "the chart's schema");
  const page = readFileSync(join(repositoryRoot, "docs/alerts.md"), "utf8");
  const sections = page.split("\n### ").slice(1);
  const described = sections.filter((section) => /^\w+\n\n.+\n\nFirst:\s.+\n\nThen: /s.test(section));
  assert.deepEqual(
    described.map((section) => section.split("\n")[0]!).toSorted(),
    alerts.map(({ name }) => name).toSorted(),
    "docs/alerts.md",
  );
  const known = await knownSeries(prometheus, rules);
  for (const { name, query } of rules) assert.deepEqual(await unknownNames(prometheus, known, query), [], name);
});

test("a name that nothing has is seen", options, async () => {
  await using prometheus = await Prometheus.start([rulesFile]);
  const known = await knownSeries(prometheus, await prometheus.rules());
  for (const [expression, problems] of [
    ["sum by (capability) (rate(legion_dispatcher_tasks_ended_total{state='DEAD'}[5m]))", []],
    ["rate(legion_dispatcher_tasks_done_total[5m])", ["legion_dispatcher_tasks_done_total"]],
    ["legion_dispatcher_slots{kind='free'}", ["legion_dispatcher_slots{kind}"]],
    ["sum by (limit) (legion_dispatcher_slots)", ["the label limit"]],
    ["legion_dispatcher_leases + on (agent) up", ["the label agent"]],
    [`{__name__=~"legion_(dispatcher|agent)_spots"}`, ["legion_(dispatcher|agent)_spots"]],
  ] as const) {
    assert.deepEqual(await unknownNames(prometheus, known, expression), problems, expression);
  }
});
