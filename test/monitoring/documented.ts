import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../harness/run-program.ts";
import { serviceNames } from "../harness/mesh.ts";

export interface Family {
  readonly type: string;
  readonly labels: ReadonlySet<string>;
}

/** The families of metrics that docs/metrics.md has in its tables, by name. */
export function documentedMetrics(): Map<string, Family> {
  const families = new Map<string, Family>();
  for (const line of readFileSync(join(repositoryRoot, "docs/metrics.md"), "utf8").split("\n")) {
    const [, name, type, labelText = ""] = /^\| `([a-z_<>]+)` +\| (\w+) +\| ([^|]*)\|/.exec(line) ?? [];
    if (name === undefined || type === undefined) continue;
    const labels = new Set([...labelText.matchAll(/`(\w+)`/g)].map(([, label]) => label!));
    const names = name.includes("<service>") ? serviceNames.map((each) => name.replace("<service>", each)) : [name];
    for (const each of names) {
      if (families.has(each)) throw new Error(`docs/metrics.md has ${each} twice`);
      families.set(each, { type, labels });
    }
  }
  return families;
}

/** The names by which Prometheus knows a family's series. */
export function seriesNames(name: string, { type }: Family): string[] {
  return type === "histogram" ? ["bucket", "count", "sum"].map((part) => `${name}_${part}`) : [name];
}
