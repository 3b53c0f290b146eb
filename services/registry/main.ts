import { runMain } from "#libs/lifecycle/run-main.ts";
import { readConfig } from "./config.ts";
import { startRegistry } from "./service.ts";

await runMain("registry", (signal) => startRegistry(readConfig(process.env), signal));
