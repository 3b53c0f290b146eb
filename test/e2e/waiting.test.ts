import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import { freePorts } from "../harness/free-ports.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { serviceNames } from "../harness/mesh-plan.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

test("a service that waits for Postgres, or for its schema, stops when it is told to", async () => {
  await using database = await testDatabase();
  const [nobody] = await freePorts(1);
  const waits: [url: string, what: RegExp][] = [
    [`postgres://legion@127.0.0.1:${nobody}/legion`, /Postgres does not answer; waiting for it/],
    [database.connectionString, /waiting for the schema \w+ to be migrated/],
  ];
  for (const name of serviceNames) {
    for (const [url, what] of waits) {
      const main = join(packageRoot, `services/${name}/main.ts`);
      const [grpcPort = 0, httpPort = 0] = await freePorts(2);
      const env = { ...process.env, BIND_HOST: "127.0.0.1", DATABASE_URL: url };
      const service = new MeshProcess({ name, main, env, grpcPort, httpPort });
      service.spawn();
      // Whatever comes.
      await using _ = { [Symbol.asyncDispose]: () => service.kill() };
      await waitFor(() => what.test(service.lines.join("\n")), { describe: () => service.lines.join("\n") });
      const exit = await service.stop();
      assert.deepEqual([name, exit?.code], [name, 0], service.lines.join("\n"));
    }
  }
});
