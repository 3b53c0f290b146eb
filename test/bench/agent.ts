import { defineAgent } from "#libs/agent/index.ts";

const [agentId = "bench", slots = "512"] = process.argv.slice(2);

const agent = defineAgent({
  name: "bench",
  agentId,
  slots: Number(slots),
  capabilities: { noop: () => ({ ok: true }) },
});
await agent.start();
console.log("ready");
process.stdin.on("end", () => process.exit(0)).resume();
