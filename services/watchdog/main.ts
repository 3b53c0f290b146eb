import { runMain } from "#libs/lifecycle/run-main.ts";
import { readConfig } from "./config.ts";
import { startWatchdog } from "./service.ts";

await runMain("watchdog", (signal) => startWatchdog(readConfig(process.env), signal));
