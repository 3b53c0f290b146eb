import { test } from "node:test";
import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { rolledBack } from "./rolled-back.ts";

test("version 2 leaks: rolled back by itself, all tasks complete", async () => {
  await rolledBack({ leak: 256 * 1024 }, VerdictKind.LEAKING);
});
