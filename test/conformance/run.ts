import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { format } from "prettier";
import { runFile } from "../runner/run-file.ts";
import { chapters } from "./behaviours/index.ts";
import { repositoryRoot } from "../harness/run-program.ts";
import { type Language, type LanguageName, languageNames } from "./language.ts";
import { languageOf } from "./languages/index.ts";
import { type Cell, cellOf, markdownTable, terminalTable } from "./table.ts";

// Usage: npm run conformance [-- language …] [--write] [--prepare] [--concurrency 2]
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    /** Puts the table into docs/agents.md. */
    write: { type: "boolean", default: false },
    /** Builds the agents, and no more. */
    prepare: { type: "boolean", default: false },
    concurrency: { type: "string", default: "2" },
  },
});
const page = join(repositoryRoot, "docs/agents.md");
const limitMs = 15 * 60_000;

const unknown = positionals.filter((name) => !languageNames.some((known) => known === name));
if (unknown.length > 0) stop(`Not known: ${unknown.join(", ")}. There are ${languageNames.join(", ")}.`);
if (values.write && positionals.length > 0) stop("--write needs all languages: the page has a table of all of them.");

const chosen = languageNames.filter((name) => positionals.length === 0 || positionals.includes(name));
const languages = await Promise.all(chosen.map(languageOf));
const trouble: string[] = [];

// One at a time: each build uses all the cores there are.
for (const language of languages) await build(language);
if (!values.prepare) await tryAll();
process.exit(trouble.length > 0 ? 1 : 0);

async function build(language: Language): Promise<void> {
  const why = language.whyNot();
  if (why !== undefined) {
    console.log(`${language.name} is NOT TRIED: ${why}`);
    if (process.env["CI"] === "true") trouble.push(`${language.name}: under CI=true all must be tried`);
    return;
  }
  const started = performance.now();
  try {
    await language.prepare();
    console.log(`${language.name} is built (${seconds(performance.now() - started)})`);
  } catch (error) {
    trouble.push(`${language.name} cannot be built: ${String(error)}`);
    console.log(trouble.at(-1));
  }
}

async function tryAll(): Promise<void> {
  const results = new Map<LanguageName, Map<string, Cell>>();
  const queue = [...languages];
  const work = async (): Promise<void> => {
    for (let language = queue.shift(); language !== undefined; language = queue.shift()) {
      results.set(language.name, await tryOne(language.name));
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(values.concurrency)) }, work));
  console.log(`\n${terminalTable(results)}`);
  if (trouble.length > 0) console.log(`\n${trouble.join("\n\n")}`);
  if (values.write) await writePage(markdownTable(results));
}

async function tryOne(language: LanguageName): Promise<Map<string, Cell>> {
  const file = join(import.meta.dirname, `${language}.test.ts`);
  const { passed, failed, skipped, durationMs, output } = await runFile(file, limitMs, AbortSignal.any([]));
  const cells = new Map<string, Cell>(passed.map((name) => [name, "passed"]));
  for (const { name } of skipped) cells.set(name, "skipped");
  for (const { name, detail } of failed) {
    cells.set(name, "failed");
    trouble.push(`FAILED in ${language}: ${name}\n${detail}`);
  }
  if (failed.length > 0 && output !== "") trouble.push(`What ${language} wrote:\n${output}`);
  const results = new Map([[language, cells]]);
  const names = Object.values(chapters).flatMap((rows) => rows.map(({ name }) => name));
  const ofCell = (wanted: Cell): number => names.filter((name) => cellOf(results, language, name) === wanted).length;
  const counts = (["passed", "failed", "skipped"] as const).map((cell) => `${ofCell(cell)} ${cell}`);
  console.log(`${language}: ${counts.join(", ")} (${seconds(durationMs)})`);
  return cells;
}

async function writePage(table: string): Promise<void> {
  const text = readFileSync(page, "utf8");
  const [begin, end] = ["<!-- conformance table -->", "<!-- end of the conformance table -->"];
  const [before, , after] = text.split(new RegExp(`(?<=${begin})([^]*)(?=${end})`));
  if (before === undefined || after === undefined) stop(`${page} has no place for the table: ${begin} … ${end}`);
  const options = { parser: "markdown", printWidth: 120 };
  writeFileSync(page, await format(`${before}\n\n${table}\n\n${after}`, options));
  console.log(`\nThe table is in ${relative(process.cwd(), page)}.`);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(0)} s`;
}

function stop(message: string): never {
  console.error(message);
  process.exit(2);
}
