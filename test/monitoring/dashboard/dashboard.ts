import { join } from "node:path";
import { repositoryRoot } from "../../harness/run-program.ts";
import type { Panel } from "./panel.ts";
import { serviceRows } from "./service-rows.ts";
import { taskRows } from "./task-rows.ts";

export const dashboardPath = join(repositoryRoot, "helm/legion/dashboards/legion.json");

const datasource = { type: "prometheus", uid: "${datasource}" };
const legion = `target_info{service_name=~"legion-.+"`;
// Also what has no such label, as without Kubernetes.
const everything = { includeAll: true, multi: true, allValue: ".*", current: { text: "All", value: "$__all" } };

/** The Grafana dashboard, as JSON: made of task-rows.ts and service-rows.ts. */
export function dashboardJson(): string {
  let id = 0;
  let y = 0;
  const panels: unknown[] = [];
  for (const [title, ofRow] of [...taskRows, ...serviceRows]) {
    panels.push({ id: ++id, type: "row", title, collapsed: false, gridPos: { x: 0, y: y++, w: 24, h: 1 }, panels: [] });
    // Six small ones or three large ones beside each other.
    const isSmall = ofRow.every(({ type }) => type === "stat");
    const size = isSmall ? { w: 4, h: 5 } : { w: 8, h: 8 };
    const inRow = 24 / size.w;
    for (const [index, panel] of ofRow.entries()) {
      const place = { x: (index % inRow) * size.w, y: y + Math.floor(index / inRow) * size.h, ...size };
      panels.push({ id: ++id, gridPos: place, ...panelJson(panel) });
    }
    y += Math.ceil(ofRow.length / inRow) * size.h;
  }
  const dashboard = {
    uid: "legion-mesh",
    title: "Legion",
    description:
      "Tasks, agents, calls, limits, versions and processes of a Legion mesh. docs/metrics.md says what is measured.",
    tags: ["legion"],
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: "30s",
    time: { from: "now-1h", to: "now" },
    templating: { list: variables },
    panels,
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}

const variables = [
  { name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
  variable("namespace", "Namespace", `label_values(${legion}}, namespace)`),
  variable("job", "Job", `label_values(${legion}, namespace=~"$namespace"}, job)`),
  variable(
    "capability",
    "Capability",
    `label_values(legion_dispatcher_time_to_start_seconds_count{namespace=~"$namespace", job=~"$job"}, capability)`,
  ),
];

function variable(name: string, label: string, query: string): object {
  return {
    name,
    label,
    type: "query",
    datasource,
    definition: query,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    ...everything,
  };
}

function panelJson({ title, unit, series, what, type, thresholds = [[0, "green"]] }: Panel): object {
  const steps = thresholds.map(([from, color], index) => ({ value: index === 0 ? null : from, color }));
  const common = { title, description: what, datasource, targets: series.map(targetJson) };
  if (type === "stat") {
    return {
      ...common,
      type: "stat",
      options: { reduceOptions: { calcs: ["lastNotNull"] }, colorMode: "value", graphMode: "area", textMode: "auto" },
      fieldConfig: { defaults: { unit, thresholds: { mode: "absolute", steps } }, overrides: [] },
    };
  }
  const custom = {
    drawStyle: type === "bars" ? "bars" : "line",
    fillOpacity: type === undefined ? 0 : 30,
    stacking: { mode: type === undefined ? "none" : "normal" },
  };
  return {
    ...common,
    type: "timeseries",
    options: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } },
    fieldConfig: { defaults: { unit, min: 0, custom }, overrides: [] },
  };
}

function targetJson([legendFormat, expression]: Panel["series"][number], index: number): object {
  const expr = expression.replaceAll("$of", `namespace=~"$namespace", job=~"$job"`);
  return { refId: String.fromCharCode(65 + index), datasource, expr, legendFormat };
}
