import { Command } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { registerAgents } from "./commands/agents.ts";
import { registerCancel } from "./commands/cancel.ts";
import { registerDemo } from "./commands/demo.ts";
import { registerDev } from "./commands/dev.ts";
import { registerGet } from "./commands/get.ts";
import { registerHealth } from "./commands/health.ts";
import { registerIncidents } from "./commands/incidents.ts";
import { registerLimits } from "./commands/limits.ts";
import { registerMetrics } from "./commands/metrics.ts";
import { registerMigrate } from "./commands/migrate.ts";
import { registerRun } from "./commands/run.ts";
import { registerSubmit } from "./commands/submit.ts";
import { registerTasks } from "./commands/tasks.ts";
import { registerTrace } from "./commands/trace.ts";
import { registerVerdict } from "./commands/verdict.ts";
import { registerVersions } from "./commands/versions.ts";
import { registerWatch } from "./commands/watch.ts";

/** The whole command line; `setExitCode` is told how a command ended, unless with 0. */
export function buildProgram(setExitCode: (code: number) => void): Command {
  const program = new Command("legion")
    .description("Gives work to the agents of a Legion mesh.")
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "legion: ")) })
    .showHelpAfterError("(see legion --help, or legion <command> --help)");
  registerRun(program, setExitCode);
  registerSubmit(program, setExitCode);
  registerGet(program);
  registerWatch(program, setExitCode);
  registerTrace(program);
  registerCancel(program);
  registerTasks(program);
  registerAgents(program);
  registerVersions(program);
  registerVerdict(program);
  registerIncidents(program);
  registerLimits(program);
  registerMetrics(program);
  registerHealth(program, setExitCode);
  registerMigrate(program);
  registerDemo(program);
  registerDev(program, setExitCode);
  return program;
}
