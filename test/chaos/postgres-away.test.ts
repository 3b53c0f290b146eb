import assert from "node:assert/strict";
import { test } from "node:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { errorReason, toConnectError } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { codeName } from "#libs/rpc/grpc-status.ts";
import { serviceNames } from "../harness/mesh.ts";
import { ownPostgres } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Load } from "./load.ts";
import { World } from "./world.ts";

test("while Postgres is away the mesh says so and accepts nothing; then it goes on where it was", async () => {
  await using postgres = await ownPostgres();
  await using world = await World.start({ postgres });
  const { mesh } = world;
  const pids = serviceNames.map((name) => mesh.process(name).pid);
  const load = await Load.start(world, "away", 500);
  await load.whenAnswered(100);

  await postgres.stop("immediate");
  const readiness = (status: number) =>
    Promise.all(
      serviceNames.map((name) =>
        waitFor(async () => (await fetch(`${mesh.process(name).httpAddress}/readyz`)).status === status, {
          timeoutMs: 20_000,
          describe: `${status} of the ${name}'s /readyz`,
        }),
      ),
    );
  await readiness(503);
  for (const name of serviceNames) {
    assert.equal((await fetch(`${mesh.process(name).httpAddress}/healthz`)).status, 200, `${name} lives`);
  }

  await using channel = new GrpcChannel(mesh.dispatcher.address);
  for (const service of ["", DispatcherService.typeName]) {
    await waitFor(async () => (await healthOf(channel, service)) === 2, {
      describe: `gRPC's health of "${service}" to be NOT_SERVING`,
    });
  }
  const client = createClient(DispatcherService, channel);
  const health = await client.getHealth({});
  assert.deepEqual([health.status, health.database], ["unhealthy", "disconnected"]);
  // A caller that asks once is told; one that waits is not.
  const task = { taskId: "refused", capability: "work", taskData: { data: Buffer.from('{"n":0,"ms":1}') } };
  const error: unknown = await client.submitTask({ task }, { timeoutMs: 20_000 }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.deepEqual([codeName(toConnectError(error).code), errorReason(error)], ["UNAVAILABLE", "DATABASE_UNAVAILABLE"]);
  load.add(100);

  await postgres.restart();
  await readiness(200);
  await load.assertAllCompletedOnce();
  assert.deepEqual(load.repeated(), []);
  await world.whenHealthy();
  assert.deepEqual(
    serviceNames.map((name) => mesh.process(name).pid),
    pids,
    "no service had to be started again",
  );
});

/** grpc.health.v1's answer, field 1 of the message: 1 is SERVING, 2 NOT_SERVING. */
async function healthOf(channel: GrpcChannel, service: string): Promise<number | undefined> {
  const request = Buffer.from(new BinaryWriter().tag(1, WireType.LengthDelimited).string(service).finish());
  const asIs = (bytes: Buffer): Buffer => bytes;
  return await new Promise((resolve, reject) => {
    channel.raw.makeUnaryRequest("/grpc.health.v1.Health/Check", asIs, asIs, request, (error, response) => {
      if (error === null) resolve(response?.[1]);
      else reject(error);
    });
  });
}
