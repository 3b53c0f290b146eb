import assert from "node:assert/strict";
import { test } from "node:test";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { temporaryDirectory } from "../db/temporary-directory.ts";
import { waitFor } from "../harness/wait-for.ts";
import { runRateLimit, tokens } from "./running.ts";

test("Postgres killed under load: no token is admitted twice, none is lost for good, and the service heals", async () => {
  await using directory = await temporaryDirectory();
  await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
  await using service = await runRateLimit(postgres.connectionString);
  const { client, httpUrl } = service;
  const burst = 2_000;
  await client.setLimit({ limit: { name: "l", kind: tokens(1, 86_400_000, burst) } });

  let admitted = 0;
  let failed = 0;
  const stop = new AbortController();
  const load = Array.from({ length: 8 }, async (_, worker) => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const reservationId = `${worker}-${i}`;
      try {
        const { results } = await client.acquire({ acquisitions: [{ reservationId }] });
        if (results[0]!.allowed) admitted++;
      } catch (error) {
        // Whether it was taken nobody knows; the same id again tells, and takes nothing more.
        assert.equal(errorReason(error), "DATABASE_UNAVAILABLE", String(error));
        failed++;
        const retry = () => client.acquire({ acquisitions: [{ reservationId }] }).catch(() => undefined);
        const response = await waitFor(retry, { describe: "the service to heal", timeoutMs: 30_000 });
        if (response.results[0]!.allowed) admitted++;
      }
    }
  });
  await waitFor(() => admitted >= 100, { describe: "100 admissions" });
  await postgres.kill();
  await waitFor(() => failed > 0, { describe: "a failure" });
  await waitFor(async () => (await fetch(`${httpUrl}/readyz`)).status === 503, {
    describe: "the service to be unready",
  });
  await postgres.restart();
  const before = admitted;
  await waitFor(() => admitted >= before + 100, { describe: "100 more", timeoutMs: 30_000 });
  await waitFor(async () => (await fetch(`${httpUrl}/readyz`)).ok, { describe: "the service to be ready" });
  stop.abort();
  await Promise.all(load);

  const { states } = await client.peek({ acquisition: {} });
  assert.equal(states[0]!.remaining, BigInt(Math.max(0, burst - admitted)));
});
