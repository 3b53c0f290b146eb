import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { JsonSchema } from "#libs/agent/capability.ts";
import { defineAgent, TaskError } from "#libs/agent/index.ts";
import type { TaskData } from "#libs/agent/json.ts";
import type { TaskContext } from "#libs/agent/task-context.ts";
import { runMain } from "#libs/lifecycle/run-main.ts";

// An agent with faults. Usage: node test/troubleshooting/agent.ts CAPABILITY [--id a-1] [--name n] [--version 1] …
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    id: { type: "string" },
    name: { type: "string", default: "troubled" },
    version: { type: "string", default: "1" },
    slots: { type: "string", default: "4" },
    region: { type: "string" },
    /** Is declared as the input's schema, as it is. */
    schema: { type: "string" },
    /** Where each execution is noted. */
    notes: { type: "string" },
  },
});

const handlers: Record<string, (data: TaskData, context: TaskContext) => unknown> = {
  /** Keeps the processor for `ms`, and with it the event loop. */
  burn({ ms }) {
    for (const end = performance.now() + Number(ms); performance.now() < end;);
    return null;
  },
  /** A result of so many characters. */
  large: ({ length }) => "x".repeat(Number(length)),
  /** Does the work, and dies before it can say so, the first time. */
  pay({ amount }, { attempt }) {
    if (values.notes !== undefined)
      appendFileSync(values.notes, `paid ${JSON.stringify(amount)}, attempt ${attempt}\n`);
    if (attempt === 1) process.kill(process.pid, "SIGKILL");
    return { paid: amount };
  },
  /** Version 2 cannot do it. */
  async resize() {
    await pause(10);
    if (values.version.startsWith("2")) throw new TaskError("cannot read the picture", { code: "BAD_PICTURE" });
    return null;
  },
  die() {
    process.kill(process.pid, "SIGKILL");
    return new Promise(() => {});
  },
};

/** Takes `ms`. What is not listed above is done so. */
async function slow({ ms = 0 }: TaskData): Promise<null> {
  await pause(Number(ms));
  return null;
}

await runMain("agent", async (signal) => {
  const [capability = "slow"] = positionals;
  const { id, name, version, slots, region, schema } = values;
  const agent = defineAgent({
    name,
    version,
    slots: Number(slots),
    ...(id !== undefined && { agentId: id }),
    ...(region !== undefined && { labels: { region } }),
    capabilities: {
      [capability]: {
        ...(schema !== undefined && { input: JSON.parse(schema) as JsonSchema }),
        execute: handlers[capability] ?? slow,
      },
    },
  });
  await agent.start({ signal });
  void agent.stopped?.then(
    () => process.exit(0),
    () => process.exit(1),
  );
  return agent;
});
