import { randomUUID } from "node:crypto";
import { explainFailure } from "#libs/lifecycle/explain-failure.ts";
import { runMain } from "#libs/lifecycle/run-main.ts";
import { createLogger } from "#libs/telemetry/logger.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import { demoAgents } from "./agents.ts";

const name = "agents";

await runMain(name, async (signal) => {
  await using undo = new AsyncDisposableStack();
  undo.use(await startTelemetry({ serviceName: name, serviceVersion: "1.0.0", instanceId: randomUUID() }));
  // Within the 4 s that stopping may take.
  const log = createLogger({ service: name });
  const agents = demoAgents({ log, cancelGraceMs: 500 });
  undo.defer(async () => {
    await Promise.all(agents.map((agent) => agent.stop({ timeoutMs: 1_500 })));
  });
  await Promise.all(agents.map((agent) => agent.start({ signal })));
  // Such as when another process with the same agents has taken over.
  for (const agent of agents) agent.stopped?.catch((error: unknown) => process.exit(explainFailure(error, log)));
  return undo.move();
});
