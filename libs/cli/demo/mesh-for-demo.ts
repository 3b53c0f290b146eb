import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { CliError, exitCodes } from "../cli-error.ts";
import { Child } from "../dev/child.ts";
import { packageRoot } from "../dev/package-root.ts";
import { probe } from "../health-check.ts";
import { Mesh, type MeshFlags } from "../mesh.ts";

const startLimitMs = 60_000;
const stopLimitMs = 8_000;

export interface DemoMesh extends Mesh {
  /** It was started for the demo. */
  readonly isOwn: boolean;
}

/** The mesh that runs; if none does, one that is started and goes when this is disposed of, with all it has stored. */
export async function meshForDemo(flags: MeshFlags, tell: (text: string) => void): Promise<DemoMesh> {
  const mesh = new Mesh(flags);
  if (await isServing(mesh)) return Object.assign(mesh, { isOwn: false });
  await using undo = new AsyncDisposableStack();
  tell("No mesh answers: starting one.");
  const directory = await mkdtemp(join(tmpdir(), "legion-demo-"));
  undo.defer(() => rm(directory, { recursive: true, force: true }));
  const lines: string[] = [];
  const port = flags.portBase === undefined ? [] : ["--port-base", String(flags.portBase)];
  const args = [join(packageRoot, "libs/cli/bin.js"), "dev", "--no-demo", "--data-dir", directory, ...port];
  const child = new Child({ name: "mesh", args, env: process.env }, (line) => void lines.push(line));
  undo.defer(async () => void (await child.stop(stopLimitMs)));
  let ended = false;
  void child.exited.then(() => (ended = true));
  for (const untilMs = performance.now() + startLimitMs; !(await isServing(mesh)); await sleep(systemClock, 200)) {
    if (!ended && performance.now() < untilMs) continue;
    throw new CliError(`The mesh does not start:\n${lines.slice(-5).join("\n")}`, exitCodes.unreachable);
  }
  const owned = undo.move();
  const close = mesh[Symbol.asyncDispose].bind(mesh);
  return Object.assign(mesh, {
    isOwn: true,
    [Symbol.asyncDispose]: async () => {
      await close();
      await owned.disposeAsync();
    },
  });
}

async function isServing({ addresses }: Mesh): Promise<boolean> {
  const answers = [addresses.registry, addresses.dispatcher, addresses.watchdog].map(async ([target = ""]) => {
    await using channel = new GrpcChannel(target);
    return (await probe(channel)).status === "serving";
  });
  return (await Promise.all(answers)).every(Boolean);
}
