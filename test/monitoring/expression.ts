import { documentedMetrics, seriesNames } from "./documented.ts";
import type { Prometheus, Rule } from "./prometheus.ts";

/** A part of a parsed expression, as Prometheus tells of it. */
interface Part {
  readonly type: string;
  readonly name?: string;
  readonly matchers?: readonly { readonly name: string; readonly type: string; readonly value: string }[];
  readonly grouping?: readonly string[];
  readonly matching?: { readonly labels: readonly string[] | null; readonly include: readonly string[] | null } | null;
  readonly func?: { readonly name: string };
  readonly val?: string;
}

/** What Prometheus and Kubernetes put on every series. */
const ofTargets = ["namespace", "job", "instance", "pod", "le"];

/** What series there are, with their labels: those of docs/metrics.md, which a test holds against a mesh, and recorded ones. */
export async function knownSeries(prometheus: Prometheus, rules: readonly Rule[]): Promise<Map<string, Set<string>>> {
  const known = new Map<string, Set<string>>([["up", new Set()]]);
  for (const [name, family] of documentedMetrics())
    for (const series of seriesNames(name, family)) known.set(series, new Set(family.labels));
  for (const { name, query } of rules.filter(({ type }) => type === "recording")) {
    const parts = await partsOf(prometheus, query);
    known.set(name, new Set(parts.flatMap(({ grouping }) => grouping ?? [])));
  }
  return known;
}

/** Names in an expression of series and labels that nothing has. @throws if Prometheus cannot parse it */
export async function unknownNames(
  prometheus: Prometheus,
  known: ReadonlyMap<string, ReadonlySet<string>>,
  expression: string,
): Promise<string[]> {
  const parts = await partsOf(prometheus, expression);
  const problems: string[] = [];
  const labels = new Set(ofTargets);
  for (const { type, name, matchers, func, val } of parts) {
    if (type === "stringLiteral" || func !== undefined) {
      // label_replace makes the label that its second string names.
      if (val !== undefined && /^[a-z_]+$/.test(val)) labels.add(val);
      continue;
    }
    if (type !== "vectorSelector" && type !== "matrixSelector") continue;
    const byName = matchers?.find((matcher) => matcher.name === "__name__" && matcher.type === "=~");
    const isMeant = (series: string): boolean =>
      byName === undefined ? series === name : new RegExp(`^(?:${byName.value})$`).test(series);
    const series = [...known].filter(([each]) => isMeant(each));
    if (series.length === 0) problems.push(name || (byName?.value ?? ""));
    for (const [, own] of series) for (const label of own) labels.add(label);
    for (const { name: label } of matchers ?? []) {
      const isThere = series.some(([, own]) => own.has(label));
      if (label !== "__name__" && !isThere && !ofTargets.includes(label)) problems.push(`${name}{${label}}`);
    }
  }
  for (const { grouping, matching } of parts) {
    for (const label of [...(grouping ?? []), ...(matching?.labels ?? []), ...(matching?.include ?? [])])
      if (!labels.has(label)) problems.push(`the label ${label}`);
  }
  return problems;
}

async function partsOf(prometheus: Prometheus, query: string): Promise<Part[]> {
  const parts: Part[] = [];
  const visit = (value: unknown): void => {
    if (value === null || typeof value !== "object") return;
    if ("type" in value && !("value" in value)) parts.push(value as unknown as Part);
    for (const inner of Object.values(value)) visit(inner);
  };
  visit(await prometheus.get("parse_query", { query }));
  return parts;
}
