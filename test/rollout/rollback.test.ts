import { test } from "node:test";
import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { rolledBack } from "./rolled-back.ts";

test("version 2 is twice as slow: rolled back by itself, all tasks complete", async () => {
  await rolledBack({ ms: 20 }, VerdictKind.SLOWER);
});

test("version 2 fails one time in five: rolled back by itself, all tasks complete", async () => {
  await rolledBack({ fail: 0.2 }, VerdictKind.FAILING);
});
