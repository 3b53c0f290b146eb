#!/usr/bin/env node
// Plain JavaScript for whatever Node runs it: the TypeScript behind it needs Node 26, which the package `node` brings along.
import { spawn } from "node:child_process";
import * as nodeModule from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const neededMajor = 26;

if (Number.parseInt(process.versions.node, 10) >= neededMajor) {
  // A third of the time that a short command takes.
  nodeModule.enableCompileCache();
  const { main } = await import("./main.ts");
  await main(process.argv.slice(2));
} else {
  runWithNewerNode();
}

function runWithNewerNode() {
  const child = spawn(findNode(), [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  // A terminal's Ctrl-C reaches the child without us; passed on it would count as a second one.
  process.on("SIGINT", () => {
    if (!process.stdin.isTTY && !process.stderr.isTTY) child.kill("SIGINT");
  });
  child.on("error", (error) => giveUp(error.message));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

function findNode() {
  try {
    return join(dirname(nodeModule.createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
  } catch {
    return giveUp(`this is Node ${process.versions.node}`);
  }
}

function giveUp(why) {
  process.stderr.write(`legion: Node ${neededMajor} or newer is needed (${why}): run \`npm ci\` in the checkout.\n`);
  process.exit(1);
}
