import { systemClock } from "#libs/clock/clock.ts";
import { Notifier } from "#libs/db/notifier.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { startHost } from "#libs/service/service-host.ts";
import { Acquirer } from "./acquirer.ts";
import { Cleaner } from "./cleaner.ts";
import type { RateLimitConfig } from "./config.ts";
import { createCounts } from "./counts.ts";
import { unlessDisconnected, whileDatabaseAnswers } from "./failures.ts";
import { LimitsCache } from "./limits-cache.ts";
import { acquire } from "./rpc/acquire.ts";
import { deleteLimit } from "./rpc/delete-limit.ts";
import { getLimit } from "./rpc/get-limit.ts";
import { lease } from "./rpc/lease.ts";
import { listLimits } from "./rpc/list-limits.ts";
import { pauseLimit } from "./rpc/pause-limit.ts";
import { peek } from "./rpc/peek.ts";
import { setLimit } from "./rpc/set-limit.ts";
import { settle } from "./rpc/settle.ts";
import { poolSettings } from "./sql/pool-settings.ts";

const changedChannel = "ratelimit_limits";

export interface RateLimit extends AsyncDisposable {
  readonly grpcPort: number;
  readonly httpPort: number;
}

export async function startRateLimit(config: RateLimitConfig, signal?: AbortSignal): Promise<RateLimit> {
  await using stack = new AsyncDisposableStack();
  const migrationsDirectory = new URL("./sql/migrations/", import.meta.url);
  const host = stack.use(await startHost({ name: "ratelimit", config, migrationsDirectory, poolSettings, signal }));
  const { pool, log } = host;
  const limits = new LimitsCache(pool);
  const counts = createCounts(host.metrics, limits);
  const acquirer = new Acquirer({
    pool,
    limits,
    concurrency: config.ACQUIRE_STATEMENTS,
    onBatch: (acquisitions, replanned) => counts.batch(acquisitions, replanned),
  });
  const cleaner = new Cleaner(pool, counts, config.RESERVATION_RETENTION);
  const clock = systemClock;
  const polling = new Ticker({
    name: "poll of the limits",
    everyMs: config.LIMITS_POLL_INTERVAL,
    tick: () => unlessDisconnected(limits.refresh()),
    clock,
    log,
  });
  const cleaning = new Ticker({
    name: "cleaning",
    everyMs: config.CLEANING_INTERVAL,
    tick: () => unlessDisconnected(cleaner.tick()),
    clock,
    log,
  });
  const notifier = host.use(
    new Notifier({
      connectionString: config.DATABASE_URL,
      applicationName: "legion-ratelimit-hints",
      onError: (err) => log.debug("the connection for hints broke", { err }),
    }),
  );
  const changed = async <T>(response: T): Promise<T> => {
    // Best effort: the next decision here finds out by itself, and the other replicas poll.
    notifier.hint(changedChannel, "");
    return await limits.refresh().then(
      () => response,
      () => response,
    );
  };

  host.mount(RateLimitService, {
    acquire: (request) => whileDatabaseAnswers(() => acquire(request, acquirer, counts)),
    peek: (request) => whileDatabaseAnswers(() => peek(request, pool, limits)),
    settle: (request) => whileDatabaseAnswers(() => settle(request, pool, counts)),
    setLimit: (request) => whileDatabaseAnswers(async () => await changed(await setLimit(request, pool))),
    getLimit: (request) => whileDatabaseAnswers(() => getLimit(request, pool, limits)),
    listLimits: (request) => whileDatabaseAnswers(() => listLimits(request, pool)),
    deleteLimit: (request) => whileDatabaseAnswers(async () => await changed(await deleteLimit(request, pool))),
    lease: (request) => whileDatabaseAnswers(() => lease(request, pool, limits, counts, config.TOKEN_LEASE)),
    pauseLimit: (request) => whileDatabaseAnswers(() => pauseLimit(request, pool)),
  });

  await limits.reload();
  await notifier.listen(changedChannel, () => polling.nudge());
  const stop = new AbortController();
  const loops = [polling.run(stop.signal), cleaning.run(stop.signal)];
  host.use({
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all(loops);
    },
  });
  await host.listen();
  const owned = stack.move();
  return {
    grpcPort: host.grpcPort,
    httpPort: host.httpPort,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
