import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cleanly, pythonWithStubs } from "./environments.ts";

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

/** Starts the agent that is written from generated stubs alone, with capabilities `py.upper` and `py.reverse`. Disposing it sends SIGTERM. */
export async function startPythonAgent({ registry, agentId }: PythonAgentOptions): Promise<PythonAgent> {
  const { python, stubs } = await pythonWithStubs();
  const child = spawn(python, [join(import.meta.dirname, "raw_agent.py")], {
    env: {
      ...process.env,
      ...cleanly,
      PYTHONPATH: stubs,
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
