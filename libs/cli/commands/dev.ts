import type { Command } from "commander";
import { meshEnv } from "#libs/client/addresses.ts";
import { readEnv } from "#libs/config/env.ts";
import { portBase } from "../options.ts";

interface DevFlags {
  readonly portBase?: number;
  readonly dataDir?: string;
  readonly demo: boolean;
  readonly json?: boolean;
}

const help = `
Postgres (embedded, unless DATABASE_URL is set), the four services and the demo
agents, each a process of its own. Ctrl-C stops all of it; the tasks are kept for
the next start.`;

export function registerDev(program: Command, setExitCode: (code: number) => void): void {
  program
    .command("dev")
    .summary("run a whole mesh on this machine (what npm start does)")
    .description("Runs a whole mesh on this machine until Ctrl-C.")
    .option("--port-base <n>", "their ports begin after it (default: LEGION_PORT_BASE or 7400)", portBase)
    .option("--data-dir <dir>", "holds the database and the logs (default: .legion in the checkout)")
    .option("--no-demo", "without the demo agents")
    .option("--json", "print JSON objects, one a line")
    .addHelpText("after", help)
    .action(async (flags: DevFlags) => {
      const { dev } = await import("../dev/dev.ts");
      const { LEGION_PORT_BASE } = readEnv({ LEGION_PORT_BASE: meshEnv.LEGION_PORT_BASE }, process.env);
      const base = flags.portBase ?? LEGION_PORT_BASE;
      setExitCode(await dev({ portBase: base, dataDir: flags.dataDir, demo: flags.demo, json: flags.json }));
    });
}
