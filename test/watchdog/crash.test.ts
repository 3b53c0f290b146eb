import assert from "node:assert/strict";
import { test } from "node:test";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { temporaryDirectory } from "../db/temporary-directory.ts";
import { waitFor } from "../harness/wait-for.ts";
import { executed, runWatchdog } from "./running.ts";

test("Postgres killed while samples come in: each batch counts once, in memory and after a restart", async () => {
  await using directory = await temporaryDirectory();
  await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
  let watchdog = await runWatchdog(postgres.connectionString);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => watchdog[Symbol.asyncDispose]());

  let acknowledged = 0;
  let failed = 0;
  const stop = new AbortController();
  const load = Array.from({ length: 4 }, async (_, worker) => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const batch = { samples: executed({ agentId: `agent-${worker}` }, 1), batchId: `${worker}-${i}` };
      await waitFor(
        async () => {
          try {
            return await watchdog.client.trackExecutions(batch);
          } catch (error) {
            assert.equal(errorReason(error), "DATABASE_UNAVAILABLE", String(error));
            failed++;
            throw error;
          }
        },
        { describe: "the service to heal", timeoutMs: 30_000 },
      );
      acknowledged++;
    }
  });
  await waitFor(() => acknowledged >= 20, { describe: "20 batches" });
  await postgres.kill();
  await waitFor(() => failed > 0, { describe: "a failure" });
  await postgres.restart();
  const before = acknowledged;
  await waitFor(() => acknowledged >= before + 20, { describe: "20 more", timeoutMs: 30_000 });
  stop.abort();
  await Promise.all(load);

  const counted = async () => Number((await watchdog.client.listVerdicts({})).verdicts[0]!.evidence!.samples);
  assert.equal(await counted(), acknowledged);
  await watchdog[Symbol.asyncDispose]();
  watchdog = await runWatchdog(postgres.connectionString);
  assert.equal(await counted(), acknowledged);
});
