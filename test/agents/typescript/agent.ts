import { createLogger } from "#libs/telemetry/logger.ts";
import { type AgentError, type CapabilityDefinition, defineAgent, type TaskContext } from "#libs/agent/index.ts";
import { burn, crash, echo, fail, fill, sleep } from "./handlers.ts";

// LEGION_REGISTRY says where the mesh is: the SDK reads it by itself.
const { AGENT_ID = "", CAPABILITIES = "echo,sleep,fail,crash,burn,fill", LOG } = process.env;

const all = { echo, sleep, fail, crash, burn, fill };
const offered = CAPABILITIES.split(",");
const capabilities: Record<string, CapabilityDefinition> = {};
for (const [name, handler] of Object.entries(all)) {
  if (offered.includes(name)) capabilities[name] = { execute: (data, context) => told(handler, data, context) };
}

const agent = defineAgent({
  name: "typescript-example",
  version: "1.0.0",
  ...(AGENT_ID !== "" && { agentId: AGENT_ID }),
  slots: 4,
  labels: { language: "typescript" },
  capabilities,
  // Standard output is for the events.
  log: createLogger({ service: "agent", level: LOG === "debug" ? "debug" : "info", destination: process.stderr }),
  onConnected: ({ sessionId, resumed }) => tell({ event: "connected", session_id: sessionId, resumed }),
  onDraining: () => tell({ event: "draining" }),
});

let signals = 0;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (++signals > 1) process.exit(1);
    void agent.stop({ timeoutMs: 60_000 });
  });
}

try {
  await agent.start();
  await agent.stopped;
  process.exit(0);
} catch (error) {
  // A mistake that another try would not mend, or another process took over: the SDK has logged which.
  process.exit((error as AgentError).reason === "STOPPED" ? 0 : 1);
}

type Handler = (data: any, context: TaskContext) => unknown;

/** Runs a handler and says on standard output when it begins and when it really has ended. */
async function told(handler: Handler, data: unknown, context: TaskContext): Promise<unknown> {
  const { taskId: task_id, attempt, capability, signal } = context;
  tell({ event: "begin", task_id, attempt, capability });
  let how = "failed";
  try {
    const result = await handler(data, context);
    how = "completed";
    return result;
  } finally {
    tell({ event: "end", task_id, attempt, how: signal.aborted ? "canceled" : how });
  }
}

function tell(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}
