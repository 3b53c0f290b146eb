import { spawnSync } from "node:child_process";
import { chmod, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { freePortBase, freePorts } from "../../harness/free-ports.ts";
import type { Running } from "../shell.ts";
import type { Provocation, Stage } from "../stage.ts";

/** `npm start` on free ports and in a directory of its own; the page shows it without these. */
async function ownStart(stage: Stage, portBase?: number): Promise<{ command: string; directory: string }> {
  const base = portBase ?? (await freePortBase());
  const directory = await stage.directory(".legion");
  const flags = ` --port-base ${base} --data-dir ${directory}`;
  stage.shell.alias(` --${flags}`, "");
  for (const port of [1, 2, 3, 4, 11, 12, 13, 14]) stage.shell.alias(base + port, 7_400 + port);
  return { command: `npm start --${flags}`, directory };
}

const portTaken: Provocation = async (stage) => {
  const { shell } = stage;
  const base = await freePortBase();
  const other = createServer();
  await new Promise<void>((listening) => other.listen(base + 3, "127.0.0.1", listening));
  stage.defer(() => other.close());
  await shell.run((await ownStart(stage, base)).command);
  await shell.run(`ss -ltnp 'sport = :${base + 3}'`);
  await (await startElsewhere(stage)).stop();
};

const secondStart: Provocation = async (stage) => {
  const { shell } = stage;
  const { command } = await ownStart(stage);
  const first = shell.start(command);
  await first.prints(/ready/);
  await shell.run(command);
  await (await startElsewhere(stage)).stop();
  await first.stop();
};

async function startElsewhere(stage: Stage): Promise<Running> {
  const base = await freePortBase();
  const directory = await stage.directory("/tmp/other");
  stage.shell.alias(base, 8_400);
  const started = stage.shell.start(`npm start -- --port-base ${base} --data-dir ${directory}`);
  return await started.prints(/ready/);
}

const otherPostgres: Provocation = async (stage) => {
  const { shell } = stage;
  const { command, directory } = await ownStart(stage);
  const first = shell.start(command);
  await first.prints(/ready/);
  await first.stop();
  await writeFile(join(directory, "postgres/PG_VERSION"), "17\n");
  await shell.run(command);
  stage.defer(() => rm(`${directory}.old`, { recursive: true }));
  await shell.run(`mv ${directory} ${directory}.old`);
  const anew = shell.start(command);
  await anew.prints(/ready/);
  await anew.stop();
};

const settings: Provocation = async ({ shell }) => {
  await shell.run("POOL_SIZE=1 HTTP_PORT=http RETENTION=7 node services/dispatcher/main.ts");
  const [nobody = 0] = await freePorts(1);
  shell.alias(nobody, 5432);
  const url = `postgres://legion:secret@127.0.0.1:${nobody}/legion`;
  const right = shell.start(`POOL_SIZE=10 RETENTION=7d DATABASE_URL=${url} node services/dispatcher/main.ts`);
  await right.prints(/waiting/);
  await right.stop("SIGTERM");
};

/** A Node on this machine that cannot run TypeScript. */
export const oldNode = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "node"))
  .find((file) => /^v(1\d|20|21)\./.test(spawnSync(file, ["--version"], { encoding: "utf8" }).stdout ?? ""));

const tooOldNode: Provocation = async ({ shell }) => {
  if (oldNode === undefined) throw new Error("There is no Node older than 22 in PATH.");
  shell.alias(oldNode, "/usr/bin/node");
  await shell.run(`${oldNode} services/registry/main.ts`);
  await shell.run("node_modules/.bin/node --version");
};

const rootsHome: Provocation = async (stage) => {
  const { shell } = stage;
  const home = await stage.directory("/root");
  await chmod(home, 0o700);
  const base = await freePortBase();
  shell.alias(` --port-base ${base}`, "");
  await shell.run(`npm start -- --port-base ${base} --data-dir ${home}/legion`);
  const passable = await stage.directory("/var/lib/legion");
  const started = shell.start(`npm start -- --port-base ${base} --data-dir ${passable}`);
  await started.prints(/ready/);
  await started.stop();
};

export const starting = {
  "port-taken": portTaken,
  "second-start": secondStart,
  "other-postgres": otherPostgres,
  settings,
  "old-node": tooOldNode,
  "roots-home": rootsHome,
};
