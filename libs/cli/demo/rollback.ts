import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { defineAgent, type LegionAgent } from "#libs/agent/index.ts";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { type Incident, IncidentAction } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { createLogger } from "#libs/telemetry/logger.ts";
import { CliError, exitCodes } from "../cli-error.ts";
import type { MeshFlags } from "../mesh.ts";
import { described, type DescribedVersion, isBad } from "../version-text.ts";
import { Board } from "./board.ts";
import { startLoad } from "./demo-load.ts";
import { meshForDemo } from "./mesh-for-demo.ts";

const tasksPerSecond = 60;
const oldMs = 30;
const newMs = 2 * oldMs;
const aloneMs = 3_000;
const afterwardsMs = 4_000;
const limitMs = 50_000;
const drawEveryMs = 500;

/** Runs version 1 of an agent, then version 2 beside it, which takes twice as long, and shows what becomes of that. */
export async function demoRollback(flags: MeshFlags): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const board = stack.use(new Board());
  const mesh = stack.use(await meshForDemo(flags, (text) => board.note(text)));
  const name = `demo-${randomBytes(3).toString("hex")}`;
  const registry = createClient(RegistryService, stack.use(new GrpcChannel(mesh.addresses.registry[0] ?? "")));
  const watchdog = createClient(WatchdogService, stack.use(new GrpcChannel(mesh.addresses.watchdog[0] ?? "")));
  const start = async (version: string, durationMs: number): Promise<LegionAgent> => {
    const agent = demoAgent(name, version, durationMs, mesh.addresses.registry.join(","));
    await agent.start();
    stack.use(agent);
    return agent;
  };

  await start("1", oldMs);
  const load = stack.use(startLoad(mesh, name, tasksPerSecond));
  board.note(`Version 1 of '${name}' is there and gets ${tasksPerSecond} tasks a second; each takes it ${oldMs} ms.`);
  const startedMs = performance.now();
  let fresh: LegionAgent | undefined;
  let seen: Incident | undefined;
  let overMs = Infinity;
  while (performance.now() < overMs + afterwardsMs) {
    if (performance.now() - startedMs > limitMs) {
      throw new CliError("Version 2 was not rolled back within 50 s.", exitCodes.gaveUp);
    }
    if (fresh === undefined && performance.now() - startedMs > aloneMs) {
      fresh = await start("2", newMs);
      board.note(`Version 2 comes: it is tried with 10 % of the work. It takes ${newMs} ms, which nobody knows yet.`);
    }
    const { versions } = await registry.listVersions({ name });
    const { reports } = await watchdog.describeVersions({ name });
    const incident = (await watchdog.listIncidents({ name })).incidents[0];
    if (incident !== undefined && seen === undefined) board.note(`Incident: ${incident.verdict?.summary ?? ""}`);
    if (incident?.endTime !== undefined && overMs === Infinity) {
      overMs = performance.now();
      board.note(rolledBackText(incident));
    }
    seen = incident;
    const done = load.takeDone();
    board.draw(
      described(versions, reports)
        .toReversed()
        .map((one) => row(one, done)),
      {
        elapsedMs: performance.now() - startedMs,
        completed: load.completed,
        failed: load.failed,
      },
    );
    await pause(drawEveryMs);
  }
  await load[Symbol.asyncDispose]();
  board.note(`${load.completed} tasks completed, ${load.failed} failed.`);
  if (mesh.isOwn) return;
  board.note("Look again with:");
  board.note(`  npx legion versions ${name}; npx legion incidents --name ${name}; npx legion verdict ${name}-2`);
}

function demoAgent(name: string, version: string, durationMs: number, registry: string): LegionAgent {
  const work = async () => {
    await pause(durationMs * (0.8 + 0.4 * Math.random()));
    return { version };
  };
  return defineAgent({
    name,
    version,
    agentId: `${name}-${version}`,
    registry,
    log: createLogger({ service: name, level: "fatal" }),
    capabilities: { [name]: work },
  });
}

function row({ version, reports }: DescribedVersion, done: ReadonlyMap<string, number>) {
  const [report] = reports;
  return {
    version,
    report,
    perSecond: (done.get(version.version) ?? 0) * (1_000 / drawEveryMs),
    isBad: report?.verdict !== undefined && isBad(report.verdict.kind),
  };
}

function rolledBackText({ action, startTime, endTime }: Incident): string {
  if (action !== IncidentAction.ROLLED_BACK || startTime === undefined || endTime === undefined)
    return "Nothing was done.";
  const tookMs = timestampMs(endTime) - timestampMs(startTime);
  return `Rolled back in ${tookMs} ms: version 2 gets nothing until a person promotes it, and its agent has ended.`;
}
