import assert from "node:assert/strict";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import { checkPorts } from "#libs/cli/dev/check-ports.ts";
import { meshVariables, planPorts } from "#libs/cli/dev/port-plan.ts";
import { StartError } from "#libs/cli/dev/start-error.ts";
import { freePorts } from "../harness/free-ports.ts";

test("a port base gives eight ports, and the variables by which others find them", () => {
  const plan = planPorts(7400);
  assert.deepEqual(
    plan.map(({ name, grpcPort, httpPort }) => [name, grpcPort, httpPort]),
    [
      ["registry", 7401, 7411],
      ["dispatcher", 7402, 7412],
      ["ratelimit", 7403, 7413],
      ["watchdog", 7404, 7414],
    ],
  );
  assert.deepEqual(meshVariables(plan), {
    LEGION_REGISTRY: "127.0.0.1:7401",
    LEGION_DISPATCHER: "127.0.0.1:7402",
    LEGION_RATELIMIT: "127.0.0.1:7403",
    LEGION_WATCHDOG: "127.0.0.1:7404",
  });
  const replicas = [1, 2].map((grpcPort) => ({ name: "dispatcher", grpcPort }));
  assert.deepEqual(meshVariables(replicas), { LEGION_DISPATCHER: "127.0.0.1:1,127.0.0.1:2" });
  assert.equal(planPorts(65_521).at(-1)!.httpPort, 65_535);
  for (const portBase of [65_522, -1, 7400.5, Number.NaN]) {
    assert.throws(() => planPorts(portBase), new RegExp(`--port-base ${portBase} .*from 0 to 65521`));
  }
});

test("a taken port is named with who needs it and the flag that helps, also when another address holds it", async () => {
  for (const host of ["127.0.0.1", "0.0.0.0"]) {
    await using server = createServer();
    await new Promise<void>((listening) => server.listen(0, host, listening));
    const { port } = server.address() as AddressInfo;
    const [a = 0, b = 0, c = 0] = await freePorts(3);
    const others = { name: "registry", title: "Registry", grpcPort: a, httpPort: b };
    await checkPorts([others]);
    const plan = [others, { name: "watchdog", title: "Watchdog", grpcPort: c, httpPort: port }];
    await assert.rejects(checkPorts(plan), (error: Error) => {
      assert.ok(error instanceof StartError);
      assert.match(
        error.message,
        new RegExp(`^Port ${port}, which the Watchdog's HTTP needs, is taken .*--port-base N`),
      );
      return true;
    });
  }
});

test("free ports are free, differ, and lie where no outgoing connection takes them", async () => {
  const ports = [...(await freePorts(20)), ...(await freePorts(20))];
  assert.equal(new Set(ports).size, 40);
  assert.ok(ports.every((port) => port >= 12_000 && port < 32_768));
});
