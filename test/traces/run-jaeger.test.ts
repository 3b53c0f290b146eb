import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { freePorts } from "../harness/free-ports.ts";
import { finish, repositoryRoot } from "../harness/run-program.ts";
import { waitFor } from "../harness/wait-for.ts";
import { whyNoGo } from "../tools/go-tools.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: npm run jaeger is not tried, for ${skip}`);
const main = join(repositoryRoot, "test/tools/jaeger/main.ts");

test(
  "npm run jaeger runs until Ctrl-C, and names a port that is taken",
  { skip: skip ?? false, timeout: 60_000 },
  async () => {
    const [grpc = 0, http = 0, query = 0, other = 0] = await freePorts(4);
    const ports = (...[first, second, third]: [number, number, number]): string[] =>
      ["otlp-grpc", "otlp-http", "query"].flatMap((name, index) => [
        `--${name}-port`,
        String([first, second, third][index]),
      ]);
    const child = spawn(process.execPath, [main, ...ports(grpc, http, query)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const kill = (): boolean => child.kill("SIGKILL");
    process.once("exit", kill);
    const lines: string[] = [];
    createInterface(child.stdout).on("line", (line) => lines.push(line));
    const exited = once(child, "exit");
    await waitFor(() => lines.some((line) => line.startsWith("Ctrl-C ends it")), {
      describe: () => `it to be ready: ${lines.join("\n")}`,
    });
    assert.match(lines[0] ?? "", new RegExp(`^Jaeger is ready\\. Traces are at {2}http://127\\.0\\.0\\.1:${query} `));
    assert.equal((await fetch(`http://127.0.0.1:${query}/api/services`)).status, 200);

    const second = await finish(process.execPath, [main, ...ports(other, http, other)]);
    assert.deepEqual([second.code, second.stdout], [1, ""]);
    assert.match(
      second.stderr,
      new RegExp(`^jaeger: Port ${http}, for spans over HTTP, is taken .* --otlp-http-port N\n$`),
    );
    assert.equal((await finish(process.execPath, [main, "--query-port", "0"])).code, 2);

    child.kill("SIGINT");
    assert.deepEqual(await exited, [0, null]);
    process.off("exit", kill);
    await assert.rejects(fetch(`http://127.0.0.1:${query}/api/services`), "nothing is left of it");
  },
);
