import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { built } from "../harness/build-cache.ts";
import { run } from "../harness/run-program.ts";

/** An object of Kubernetes, as far as tests look into it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: Record<string, unknown>;
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

export interface Validated {
  readonly objects: readonly Manifest[];
  /** What breaks the schemas. */
  readonly problems: readonly string[];
  /** Kinds that Kubernetes itself does not have. */
  readonly unknown: readonly string[];
}

/** Why the schemas of Kubernetes cannot be had on this machine; undefined if they can. */
export function whyNoPython(): string | undefined {
  const { error } = spawnSync("python3", ["--version"]);
  return error === undefined ? undefined : `python3 cannot be run: ${error.message}`;
}

const folder = join(import.meta.dirname, "kubernetes-validate");

/** A virtual environment with the schemas. */
export async function validator(): Promise<string> {
  const requirements = join(folder, "requirements.txt");
  return await built("kubernetes-validate", [requirements], async (unfinished) => {
    await run("python3", ["-m", "venv", unfinished]);
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    await run(join(unfinished, "bin/python"), pip);
  });
}

/** Parses YAML and holds every object against the schemas of these versions of Kubernetes, with no field unknown. */
export async function validateManifests(yaml: string, versions: readonly string[]): Promise<Validated> {
  const output = await run(join(await validator(), "bin/python"), [join(folder, "validate.py"), ...versions], {
    input: yaml,
  });
  return JSON.parse(output) as Validated;
}
