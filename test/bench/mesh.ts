import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LegionCore } from "#libs/client/index.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { startMesh } from "../harness/mesh.ts";
import { cpuTimesMs } from "./cpu.ts";

// End to end through the four processes: submit → stored → agent → outcome stored → result known to the submitter.
// Usage: npm run bench -- [--seconds 8] [--agents 2] [--slots 768] [--only stream-1000]
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "8" },
    agents: { type: "string", default: "2" },
    slots: { type: "string", default: "768" },
    only: { type: "string" },
  },
});
const runMs = Number(values.seconds) * 1_000;
const payload = { text: "x".repeat(180) };

await using cleanUp = new AsyncDisposableStack();
const dataDir = mkdtempSync(join(tmpdir(), "legion-bench-"));
cleanUp.defer(() => rmSync(dataDir, { recursive: true, force: true }));
const postgres = cleanUp.use(await startEmbeddedPostgres({ dataDir }));
const mesh = cleanUp.use(await startMesh({ postgres }));
const agents = await Promise.all(
  Array.from({ length: Number(values.agents) }, (_, index) => startAgent(`bench-${index}`)),
);
cleanUp.defer(() => agents.forEach((agent) => agent.kill()));

const core = cleanUp.use(new LegionCore({ dispatcher: mesh.dispatcher.address, registry: mesh.registry.address }));
const channel = cleanUp.use(new GrpcChannel(mesh.dispatcher.address));
const dispatcher = createClient(DispatcherService, channel);
const task = { capability: "noop", taskData: { data: Buffer.from(JSON.stringify(payload)) } };

const pids = {
  client: process.pid,
  dispatcher: mesh.dispatcher.pid!,
  registry: mesh.registry.pid!,
  agents: 0,
  postgres: postgres.pid!,
};

const viaStream = () => core.dispatchTask(undefined, payload, "noop");
const viaUnary = () => dispatcher.runTask({ task });
const rows: string[] = [];
await measure("stream-1", 1, viaStream);
await measure("stream-64", 64, viaStream);
await measure("stream-1000", 1_000, viaStream);
await measure("unary-1", 1, viaUnary);
await measure("unary-64", 64, viaUnary);
await measure("bulk-500", 4, () => runBulk(500), 500);

console.log(
  "\n| how | tasks/s | p50 ms | p99 ms | CPU µs a task: client | dispatcher | registry | agents | Postgres |",
);
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const row of rows) console.log(row);

/** Keeps `inFlight` calls going; the first second only warms up. */
async function measure(name: string, inFlight: number, call: () => Promise<unknown>, tasksACall = 1): Promise<void> {
  if (values.only !== undefined && values.only !== name) return;
  const latencies: number[] = [];
  let isWarm = false;
  let isOver = false;
  let done = 0;
  const loop = async (): Promise<void> => {
    while (!isOver) {
      const startedMs = performance.now();
      await call();
      if (isWarm && !isOver) {
        latencies.push(performance.now() - startedMs);
        done += tasksACall;
      }
    }
  };
  const loops = Promise.all(Array.from({ length: inFlight }, loop));
  await rest(1_500);
  isWarm = true;
  const before = cpu();
  const startedMs = performance.now();
  await rest(runMs);
  isOver = true;
  const tookMs = performance.now() - startedMs;
  const after = cpu();
  await loops;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(1);
  const perTask = (process: keyof typeof pids) => (((after[process] - before[process]) * 1_000) / done).toFixed(0);
  const rate = Math.round((done * 1_000) / tookMs).toLocaleString("en-US");
  const cells = [name, rate, at(0.5), at(0.99), ...Object.keys(pids).map((key) => perTask(key as keyof typeof pids))];
  rows.push(`| ${cells.join(" | ")} |`);
  console.log(rows.at(-1));
}

/** Stores tasks in bulk and waits until all of them are done. */
async function runBulk(count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, viaStream));
}

function cpu(): Record<keyof typeof pids, number> {
  const times = cpuTimesMs({
    ...pids,
    ...Object.fromEntries(agents.map((agent, index) => [`agent-${index}`, agent.pid!])),
  });
  // The client's children are the mesh itself.
  const { user, system } = process.cpuUsage();
  const agentsMs = agents.reduce((sum, _agent, index) => sum + (times[`agent-${index}`] ?? 0), 0);
  return { ...(times as Record<keyof typeof pids, number>), client: (user + system) / 1_000, agents: agentsMs };
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function startAgent(agentId: string): Promise<ChildProcess> {
  const main = fileURLToPath(new URL("agent.ts", import.meta.url));
  const child = spawn(process.execPath, [main, agentId, values.slots], {
    env: mesh.env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return child;
}
