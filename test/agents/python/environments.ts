import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { globSync } from "node:fs";
import { join } from "node:path";
import { built, protoFiles } from "../../harness/build-cache.ts";
import { repositoryRoot, run } from "../../harness/run-program.ts";

export const packageFolder = join(repositoryRoot, "libs/python");

const requirements = join(import.meta.dirname, "requirements.txt");
const tools = join(packageFolder, "requirements-dev.txt");
const sources = ["pyproject.toml", "README.md", "src/**/*"].map((path) => join(packageFolder, path));

/** For whatever Python runs from the checkout: it writes nothing into it. */
export const cleanly = { PYTHONDONTWRITEBYTECODE: "1" };

/** Why Python cannot be run on this machine; undefined if it can. For a test's `skip`. */
export function whyNoPython(): string | undefined {
  const { error, stdout } = spawnSync("python3", ["-c", "import sys; print(sys.version_info >= (3, 11))"]);
  if (error !== undefined) return `python3 cannot be run: ${error.message}`;
  return stdout.toString().trim() === "True" ? undefined : "python3 is older than 3.11";
}

/** A Python that has the SDK, installed as its users install it. */
export async function pythonWithSdk(): Promise<string> {
  return await environment(sources, [packageFolder]);
}

/** The same with what sends spans. */
export async function pythonWithTraces(): Promise<string> {
  return await environment([...sources, import.meta.filename], [`${packageFolder}[otel]`]);
}

/** A Python that has what the SDK is checked and generated with. */
export async function pythonWithTools(): Promise<string> {
  return await environment([tools], ["-r", tools]);
}

/** A Python that has gRPC, and the stubs of this very contract as anybody generates them. */
export async function pythonWithStubs(): Promise<{ readonly python: string; readonly stubs: string }> {
  const folder = await built("python", [requirements, protoFiles], async (unfinished) => {
    const python = await makeEnvironment(unfinished, ["-r", requirements]);
    const stubs = join(unfinished, "stubs");
    await mkdir(stubs);
    const protos = ["legion/registry/v1", "legion/common/v1", "buf/validate"].map((path) => `proto/${path}/*.proto`);
    const outputs = [`--python_out=${stubs}`, `--grpc_python_out=${stubs}`];
    const files = protos.flatMap((pattern) => globSync(pattern, { cwd: repositoryRoot }));
    await run(python, ["-m", "grpc_tools.protoc", "-I", "proto", ...outputs, ...files.toSorted()]);
  });
  return { python: join(folder, "venv/bin/python"), stubs: join(folder, "stubs") };
}

async function environment(inputs: readonly string[], install: readonly string[]): Promise<string> {
  const folder = await built("python", inputs, async (unfinished) => {
    await makeEnvironment(unfinished, install);
  });
  return join(folder, "venv/bin/python");
}

/** A virtual environment still finds its packages when it was moved. */
async function makeEnvironment(folder: string, install: readonly string[]): Promise<string> {
  const python = join(folder, "venv/bin/python");
  await run("python3", ["-m", "venv", join(folder, "venv")]);
  await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...install], { env: cleanly });
  return python;
}
