import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { type Finished, finish, repositoryRoot } from "../harness/run-program.ts";
import { goTools } from "../tools/go-tools.ts";

export const chart = join(repositoryRoot, "helm/legion");
/** Files of values that must work, by their path. */
export const valueFiles = globSync(join(import.meta.dirname, "values/*.yaml")).toSorted();
export const nameOf = (file: string): string => basename(file, ".yaml");

/** Runs Helm to its end, whatever that is. */
export async function helm(...args: string[]): Promise<Finished> {
  return await finish(join(await goTools("helm"), "helm"), args);
}

/** What `helm template` makes of the chart, as the release `mesh`. @throws with what Helm says */
export async function render(...args: string[]): Promise<string> {
  // Tests of a release are hooks, which are rendered as well.
  const { code, stdout, stderr } = await helm("template", "mesh", chart, "--namespace", "work", ...args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}
