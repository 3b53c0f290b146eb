import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { glob, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { waitFor } from "../../harness/wait-for.ts";

const root = join(import.meta.dirname, "../../..");
const cache = join(root, ".legion", "test-python");
const requirements = join(import.meta.dirname, "requirements.txt");
const protoFolders = ["legion/registry/v1", "legion/common/v1", "buf/validate"];

/** Why the Python agent cannot run on this machine; undefined if it can. For a test's `skip`. */
export function whyNoPython(): string | undefined {
  const { error } = spawnSync("python3", ["--version"]);
  return error === undefined ? undefined : `python3 cannot be run: ${error.message}`;
}

export interface PythonAgentOptions {
  /** `host:port`. */
  readonly registry: string;
  readonly agentId?: string;
}

export interface PythonAgent extends AsyncDisposable {
  readonly pid: number;
  /** What it printed. */
  readonly lines: readonly string[];
  /** Resolves with its exit code when it has ended. */
  readonly exited: Promise<number | null>;
}

/** Starts the example agent, with capabilities `py.upper` and `py.reverse`. Disposing it sends SIGTERM. */
export async function startPythonAgent({ registry, agentId }: PythonAgentOptions): Promise<PythonAgent> {
  const environment = await prepare();
  const child = spawn(join(environment, "venv/bin/python"), [join(import.meta.dirname, "agent.py")], {
    env: {
      ...process.env,
      PYTHONPATH: join(environment, "stubs"),
      PYTHONDONTWRITEBYTECODE: "1",
      LEGION_REGISTRY: registry,
      ...(agentId !== undefined && { AGENT_ID: agentId }),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", (line) => lines.push(line));
  const exited = once(child, "exit").then(([code]: (number | null)[]) => code ?? null);
  // A test that fails leaves nothing behind.
  const kill = (): boolean => child.kill("SIGKILL");
  process.once("exit", kill);
  await once(child, "spawn");
  return {
    pid: child.pid!,
    lines,
    exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
      process.off("exit", kill);
    },
  };
}

/** A virtual environment with the stubs of this very contract; made once, for whoever asks first. */
async function prepare(): Promise<string> {
  const protos = (
    await Array.fromAsync(
      glob(
        protoFolders.map((folder) => `${folder}/*.proto`),
        { cwd: join(root, "proto") },
      ),
    )
  ).toSorted();
  const hash = createHash("sha256");
  for (const path of [requirements, ...protos.map((proto) => join(root, "proto", proto))])
    hash.update(readFileSync(path));
  const environment = join(cache, hash.digest("hex").slice(0, 16));
  if (existsSync(environment)) return environment;
  await mkdir(cache, { recursive: true });
  const lock = `${environment}.lock`;
  await waitFor(() => existsSync(environment) || takeLock(lock), {
    describe: `the Python environment (${lock})`,
    timeoutMs: 180_000,
  });
  try {
    if (!existsSync(environment)) await build(environment, protos);
  } finally {
    if (ownerOf(lock) === process.pid) await rm(lock);
  }
  return environment;
}

async function build(environment: string, protos: readonly string[]): Promise<void> {
  // Under its final name only when it is whole. A moved virtual environment still finds its packages.
  const unfinished = `${environment}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(join(unfinished, "stubs"), { recursive: true });
  const stubs = join(unfinished, "stubs");
  const python = join(unfinished, "venv/bin/python");
  await run("python3", ["-m", "venv", join(unfinished, "venv")]);
  await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
  const outputs = [`--python_out=${stubs}`, `--grpc_python_out=${stubs}`];
  await run(python, ["-m", "grpc_tools.protoc", "-I", join(root, "proto"), ...outputs, ...protos]);
  await rename(unfinished, environment);
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command} ${args.slice(0, 3).join(" ")} ended with ${code}:\n${errors}`);
}

async function takeLock(lock: string): Promise<boolean> {
  const owner = ownerOf(lock);
  if (owner !== undefined && !isAlive(owner)) await rm(lock, { force: true });
  try {
    await writeFile(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    return false;
  }
}

function ownerOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(lock, "utf8")) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
