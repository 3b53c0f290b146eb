import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import { freePorts } from "../harness/free-ports.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { serviceNames } from "../harness/mesh-plan.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

test("a service that waits for Postgres, or for its schema, says so on its HTTP port and stops when it is told to", async () => {
  await using database = await testDatabase();
  const [nobody] = await freePorts(1);
  const waits: [url: string, logged: RegExp, answered: RegExp][] = [
    [
      `postgres://legion@127.0.0.1:${nobody}/legion`,
      /Postgres does not answer; waiting for it/,
      /^start: waiting for Postgres to answer \(connect ECONNREFUSED 127\.0\.0\.1:\d+\)\n$/,
    ],
    [
      database.connectionString,
      /waiting for the schema \w+ to be migrated/,
      /^start: waiting for the schema \w+ to be migrated \(run: legion migrate\)\n$/,
    ],
  ];
  for (const name of serviceNames) {
    for (const [url, logged, answered] of waits) {
      const main = join(packageRoot, `services/${name}/main.ts`);
      const [grpcPort = 0, httpPort = 0] = await freePorts(2);
      const ports = { GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort) };
      const env = { ...process.env, ...ports, BIND_HOST: "127.0.0.1", DATABASE_URL: url };
      const service = new MeshProcess({ name, main, env, grpcPort, httpPort });
      service.spawn();
      // Whatever comes.
      await using _ = { [Symbol.asyncDispose]: () => service.kill() };
      await waitFor(() => logged.test(service.lines.join("\n")), { describe: () => service.lines.join("\n") });
      const http = `http://127.0.0.1:${httpPort}`;
      const ready = await fetch(`${http}/readyz`);
      assert.equal(ready.status, 503);
      assert.match(await ready.text(), answered);
      assert.equal((await fetch(`${http}/healthz`)).status, 200);
      const exit = await service.stop();
      assert.deepEqual([name, exit?.code], [name, 0], service.lines.join("\n"));
    }
  }
});
