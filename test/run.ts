import { spawnSync } from "node:child_process";
import { globSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type FileResult, runFile } from "./runner/run-file.ts";

// Usage: node test/run.ts [file, folder or glob …] [--all] [--concurrency 2] [--timeout-ms 600000]
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: "boolean", default: false },
    concurrency: { type: "string", default: "2" },
    "timeout-ms": { type: "string", default: "600000" },
  },
});

// A control plane of Kubernetes takes a quarter of an hour to build: who names no files gets it only by asking for all.
const costly = "test/kubernetes/";
const named = findFiles(positionals.length > 0 ? positionals : ["test"]);
const files = positionals.length > 0 || values.all ? named : named.filter((file) => !file.startsWith(costly));
if (files.length < named.length) console.log(`Without ${costly} (npm run test:kubernetes, or npm test -- --all)`);
const width = Math.max(...files.map((file) => file.length));
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    stop.abort();
    process.exit(130);
  });
}

if (files.some((file) => /^test\/(agents|conformance|traces)\//.test(file))) build("conformance/run.ts", "--prepare");
build("tools/prepare.ts", ...new Set(files.flatMap((file) => /^test\/([^/]+)\//.exec(file)?.[1] ?? [])));
const results: FileResult[] = [];
const queue = [...files];
await Promise.all(Array.from({ length: Math.max(1, Number(values.concurrency)) }, work));
process.exit(summarize());

async function work(): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const result = await runFile(file, Number(values["timeout-ms"]), stop.signal);
    results.push(result);
    const { passed, failed, skipped } = result;
    const verdict = failed.length > 0 ? "FAIL" : "ok  ";
    const counts = tally(passed.length, failed.length, skipped.length);
    console.log(`${verdict} ${file.padEnd(width)} ${(result.durationMs / 1_000).toFixed(1).padStart(6)} s  ${counts}`);
    tellFailures(result);
  }
}

/** Before all tests: a compiler at work beside them would take the cores that they need. What fails here fails there, too. */
function build(program: string, ...args: string[]): void {
  spawnSync(process.execPath, [join(import.meta.dirname, program), ...args], { stdio: "inherit" });
}

function findFiles(patterns: readonly string[]): string[] {
  const found = patterns.flatMap((pattern) => {
    const isFolder = statSync(pattern, { throwIfNoEntry: false })?.isDirectory() ?? false;
    const matches = globSync(isFolder ? join(pattern, "**/*.test.ts") : pattern, { exclude: ["**/node_modules"] });
    if (matches.length === 0) {
      console.error(`No test file matches ${pattern}.`);
      process.exit(1);
    }
    return matches;
  });
  return [...new Set(found)].toSorted();
}

/** At once, for whoever looks on; the names again at the end. */
function tellFailures({ file, failed, output }: FileResult): void {
  for (const { name, detail } of failed) console.log(`FAILED: ${name} (${file})\n${indent(detail)}`);
  if (failed.length > 0 && output !== "") console.log(`  What ${file} wrote, at the end:\n${indent(output, 40)}`);
}

/** Prints what needs attention and the totals; returns the exit code. */
function summarize(): number {
  for (const { file, skipped } of results) {
    for (const { name, detail } of skipped) console.log(`\nskipped: ${name} (${file})\n  ${detail}`);
  }
  if (results.some(({ failed }) => failed.length > 0)) console.log("");
  for (const { file, failed } of results) for (const { name } of failed) console.log(`Failed: ${name} (${file})`);
  const passed = sum((result) => result.passed.length);
  const failed = sum((result) => result.failed.length);
  const skipped = sum((result) => result.skipped.length);
  const skipsFail = process.env["CI"] === "true" && skipped > 0;
  if (skipsFail) console.log("\nUnder CI=true a skipped test is a failure.");
  console.log(`\n${tally(passed, failed, skipped)}`);
  return failed > 0 || passed === 0 || skipsFail ? 1 : 0;
}

function sum(count: (result: FileResult) => number): number {
  return results.reduce((total, result) => total + count(result), 0);
}

function tally(passed: number, failed: number, skipped: number): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

function indent(text: string, lines = Infinity): string {
  return text.split("\n").slice(-lines).join("\n").replace(/^/gm, "  ");
}
