import { runMain } from "#libs/lifecycle/run-main.ts";
import { readConfig } from "./config.ts";
import { startDispatcher } from "./service.ts";

await runMain("dispatcher", (signal) => startDispatcher(readConfig(process.env), signal));
