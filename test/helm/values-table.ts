import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../harness/run-program.ts";

const chart = join(repositoryRoot, "helm/legion");
export const readmePath = join(chart, "README.md");

/** Whole tables below the headings of the text. */
const begin = "<!-- values: npm run docs -->";

interface Row {
  readonly path: string;
  readonly value: string;
  readonly doc: string;
}

/** The README with its table made anew from the comments of values.yaml, those that begin with `# --`. */
export function readmeWithTable(readme: string): string {
  const start = readme.indexOf(begin);
  if (start < 0) throw new Error(`${readmePath} has no line ${begin}`);
  const rows = valueRows(readFileSync(join(chart, "values.yaml"), "utf8"));
  const table = rows.map(({ path, value, doc }) => `| \`${path}\` | ${value === "" ? "" : `\`${value}\``} | ${doc} |`);
  return [
    readme.slice(0, start) + begin,
    "",
    "| Value | Default | What it is for |",
    "| --- | --- | --- |",
    ...table,
    "",
  ].join("\n");
}

/** Every value that is no map, in order; maps are written over several lines, all else on one. */
export function valueRows(yaml: string): Row[] {
  const rows: Row[] = [];
  const parents: { indent: number; key: string }[] = [];
  let doc = "";
  for (const line of yaml.split("\n")) {
    const comment = /^\s*# -- (.*)$/.exec(line)?.[1];
    if (comment !== undefined) doc = comment;
    const [, spaces = "", key, value = ""] = /^( *)([\w-]+):(?: (.*))?$/.exec(line) ?? [];
    if (key === undefined) continue;
    while (parents.length > 0 && parents.at(-1)!.indent >= spaces.length) parents.pop();
    if (value === "") parents.push({ indent: spaces.length, key });
    else {
      const path = [...parents.map((parent) => parent.key), key].join(".");
      rows.push({ path, value, doc: (doc || portDoc(key)).replaceAll("|", "\\|") });
    }
    doc = "";
  }
  return rows;
}

const portDoc = (key: string): string =>
  ({
    grpcPort: "gRPC",
    httpPort: "HTTP: JSON, /metrics, /healthz, /readyz",
    minReplicas: "At least so many pods",
    maxReplicas: "At most so many pods",
    port: "Its port",
  })[key] ?? "";
