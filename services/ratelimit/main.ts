import { runMain } from "#libs/lifecycle/run-main.ts";
import { readConfig } from "./config.ts";
import { startRateLimit } from "./service.ts";

await runMain("ratelimit", (signal) => startRateLimit(readConfig(process.env), signal));
