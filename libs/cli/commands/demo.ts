import type { Command } from "commander";
import { portBase } from "../options.ts";

interface DemoFlags {
  readonly portBase?: number;
}

export function registerDemo(program: Command): void {
  const demo = program.command("demo").summary("see something happen").description("Shows what the mesh does, live.");
  demo
    .command("rollback")
    .summary("a bad version is found and rolled back")
    .description(
      "Runs two versions of an agent, the second of which takes twice as long, and shows how it is found and rolled back: " +
        "on the mesh that runs, or on one of its own if none does. Takes less than a minute.",
    )
    .option("--port-base <n>", "the mesh's ports begin after it (default: 7400)", portBase)
    .action(async (flags: DemoFlags) => {
      const { demoRollback } = await import("../demo/rollback.ts");
      await demoRollback(flags);
    });
}
