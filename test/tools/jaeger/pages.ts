import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { basename, dirname, join } from "node:path";
import { built } from "../../harness/build-cache.ts";
import { repositoryRoot } from "../../harness/run-program.ts";

const page = join(import.meta.dirname, "index.html");
const scripts = ["libs/cli/trace/jaeger-api.ts", "test/traces/draw-trace.ts"].map((path) => join(repositoryRoot, path));

/**
 * A folder with pages for Jaeger to serve: what Go's modules have of it comes without its own. They are `index.html`, which it
 * answers with whatever the path, and below `static/` the scripts that it loads, as JavaScript.
 */
export async function makePages(): Promise<string> {
  const sources = new Map<string, string>();
  for (const script of scripts) await collect(script, sources);
  return await built("jaeger-pages", [page, import.meta.filename, ...sources.keys()], async (folder) => {
    await mkdir(join(folder, "static"));
    await copyFile(page, join(folder, "index.html"));
    for (const [path, text] of sources) {
      const script = stripTypeScriptTypes(text).replaceAll(
        importPattern,
        (_, from: string) => `from "./${jsName(from)}"`,
      );
      await writeFile(join(folder, "static", jsName(path)), script);
    }
  });
}

const importPattern = /from "((?:#libs|\.{1,2})\/[^"]+\.ts)"/g;
const jsName = (path: string): string => basename(path, ".ts") + ".js";

/** A script and whatever it imports, by their paths. */
async function collect(path: string, sources: Map<string, string>): Promise<void> {
  if (sources.has(path)) return;
  const text = await readFile(path, "utf8");
  sources.set(path, text);
  for (const [, from = ""] of text.matchAll(importPattern)) {
    const isShort = from.startsWith("#libs/");
    await collect(isShort ? join(repositoryRoot, from.slice(1)) : join(dirname(path), from), sources);
  }
}
