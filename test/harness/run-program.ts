import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export const repositoryRoot = join(import.meta.dirname, "../..");

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

/** Runs a program to its end, whatever that is. */
export async function finish(file: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { cwd = repositoryRoot, env = {}, input = "" } = options;
  const child = spawn(file, args, { cwd, env: { ...process.env, ...env } });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** Its standard output. @throws with what it wrote when it fails */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await finish(file, args, options);
  if (code !== 0) throw new Error(`${file} ${args.slice(0, 4).join(" ")} ended with ${code}:\n${stderr}\n${stdout}`);
  return stdout;
}
