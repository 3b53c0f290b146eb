import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { whyNoGo } from "../tools/go-tools.ts";
import { serviceNames } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";
import { startBusyMesh } from "./busy-mesh.ts";
import { dashboardJson, dashboardPath } from "./dashboard/dashboard.ts";
import { knownSeries, unknownNames } from "./expression.ts";
import { Prometheus, rulesFile } from "./prometheus.ts";

interface PanelJson {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly panels: readonly PanelJson[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: the dashboard's expressions are not parsed, for ${skip}`);

test("the dashboard is what its rows say (npm run docs), with places and ids of their own", () => {
  const text = readFileSync(dashboardPath, "utf8");
  assert.equal(text, dashboardJson());
  const { panels } = JSON.parse(text) as Dashboard;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { title, type, gridPos, targets = [] } of panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!taken.has(`${x},${y}`), `${title} lies over another`);
        taken.add(`${x},${y}`);
      }
    }
    assert.equal(targets.length > 0, type !== "row", title);
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
  }
});

test(
  "every expression of the dashboard can be parsed and is made of what there is",
  { skip, timeout: 1_200_000 },
  async () => {
    await using prometheus = await Prometheus.start([rulesFile]);
    const known = await knownSeries(prometheus, await prometheus.rules());
    known.set("ALERTS", new Set(["alertname", "alertstate", "severity"]));
    const { panels, templating } = JSON.parse(dashboardJson()) as Dashboard;
    const names = templating.list.map(({ name }) => name);
    for (const { title, targets = [] } of panels) {
      for (const { expr, legendFormat } of targets) {
        for (const [, name] of expr.matchAll(/\$(\w+)/g))
          assert.ok(/^(__rate_interval|\d)$/.test(name!) || names.includes(name!), `${title}: $${name} is no variable`);
        const plain = expr.replaceAll("$__rate_interval", "1m").replaceAll(/\$([a-z]+)/g, ".*");
        assert.deepEqual(await unknownNames(prometheus, known, plain), [], title);
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
          assert.match(
            expr,
            new RegExp(`by \\([^)]*\\b${label}\\b|group_left \\(${label}|^legion_`),
            `${title}: ${label}`,
          );
      }
    }
    for (const { definition } of templating.list) {
      if (definition === undefined) continue;
      const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(definition) ?? assert.fail(definition);
      const counted = `count by (${label}) (${selector!.replaceAll(/\$([a-z]+)/g, ".*")})`;
      assert.deepEqual(await unknownNames(prometheus, known, counted), [], definition);
    }
  },
);

test("every panel shows something of a mesh in which all has happened", { skip, timeout: 1_200_000 }, async () => {
  await using mesh = await startBusyMesh();
  const targets = serviceNames.map((name) => `127.0.0.1:${mesh.process(name).httpPort}`);
  await using prometheus = await Prometheus.start([rulesFile], targets);
  const { panels } = JSON.parse(dashboardJson()) as Dashboard;
  const empty = async (): Promise<string[]> => {
    const titles: string[] = [];
    for (const { title, targets: shown = [] } of panels) {
      for (const { refId, expr } of shown) {
        const query = expr.replaceAll("$__rate_interval", "1m").replaceAll(/\$([a-z]+)/g, ".*");
        const { result } = await prometheus.get<{ result: unknown[] }>("query", { query });
        if (result.length === 0) titles.push(`${title} ${refId}`);
      }
    }
    return titles;
  };
  let left: string[] = [];
  await waitFor(async () => (left = await empty()).length === 0, {
    describe: () => `values for ${left.join(", ")}`,
    timeoutMs: 30_000,
  });
});
