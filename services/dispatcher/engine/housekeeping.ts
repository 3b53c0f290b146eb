import { systemClock } from "#libs/clock/clock.ts";
import { unlessAway } from "#libs/db/unless-away.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import type { ServiceHost } from "#libs/service/service-host.ts";
import type { DispatcherConfig } from "../config.ts";
import { foldCounters } from "../sql/counters.ts";
import { refreshStatistics } from "../sql/refresh-statistics.ts";
import type { Engine } from "./engine.ts";
import { Gauges } from "./gauges.ts";
import { Rescuer } from "./rescuer.ts";

// Waiters are looked up this many at a time, so that a hundred thousand of them cost no more than a few.
const lookedUpAtOnce = 2_000;

/** All that the Dispatcher does by the clock. */
export function keepHouse(host: ServiceHost, config: DispatcherConfig, engine: Engine): void {
  const { pool, log } = host;
  const { instance, assigner, waiters, dueTimer, cancellation, gates, samples, segments, schemas } = engine;
  const rescuer = new Rescuer({
    pool,
    log,
    instance,
    leases: engine.leases,
    home: engine.home,
    finisher: engine.finisher,
    graceMs: config.SESSION_GRACE,
  });
  const gauges = new Gauges(pool, engine.routes, host.metrics, engine.capabilityLabel);
  let lookedUp = 0;
  let wasAlone = true;
  let isOver = true;

  async function lookUpSome(): Promise<void> {
    const { isAlone } = instance;
    // When the others are gone all are looked up once more: the last hints may have gone with them.
    if (isAlone !== wasAlone) lookedUp = 0;
    if (!isAlone || !wasAlone) isOver = false;
    wasAlone = isAlone;
    if (isOver) return;
    const all = waiters.located().filter(({ taskKey }) => engine.leases.byKey(taskKey) === undefined);
    if (lookedUp >= all.length) lookedUp = 0;
    const some = all.slice(lookedUp, lookedUp + lookedUpAtOnce);
    lookedUp += some.length;
    if (some.length > 0) await engine.lookUp(some);
    isOver = isAlone && lookedUp >= all.length;
  }

  const every = (everyMs: number, name: string, tick: () => Promise<void>): void => {
    const ticker = new Ticker({ name, everyMs, tick: () => unlessAway(tick), clock: systemClock, log });
    void ticker.run(engine.stopping.signal);
  };
  every(Math.min(2_500, config.INSTANCE_LEASE / 4), "instance lease", () => instance.renew());
  every(1_000, "submission counts", async () => engine.counts.publish());
  every(1_000, "queue poll", () => assigner.poll());
  every(100, "limits", () => gates.limitsRead());
  every(1_000, "gates", () => gates.tick());
  every(60_000, "unused gates", () => gates.forgetUnused());
  every(1_000, "cancel poll", () => cancellation.tick());
  every(1_000, "outcome poll", lookUpSome);
  every(1_000, "statistics", async () => void (await refreshStatistics(pool)));
  every(500, "execution samples", () => samples.flush());
  every(2_000, "rescue", async () => {
    await rescuer.returnUnheld();
    await rescuer.rescueAbandoned();
  });
  every(10_000, "counters", () => foldCounters(pool));
  every(10_000, "gauges", () => gauges.tick());
  every(10_000, "input schemas", () => schemas.refresh());
  every(60_000, "segments", () => segments.tick());
  dueTimer.expect(0);
  gates.keeper.expect(0);

  void engine.hints
    .listen({
      queued: (news) => {
        const route = news && engine.routes.get(news.routeKey);
        if (route !== undefined) assigner.queuedSome(route, news!.place);
        else void assigner.poll().catch((err: unknown) => log.debug("the queue could not be polled", { err }));
      },
      ended: (taskKeys) => {
        if (taskKeys === undefined) return;
        const awaited = taskKeys.flatMap((taskKey) => waiters.byKey(taskKey) ?? []);
        if (awaited.length > 0) void engine.lookUp(awaited).catch(() => {});
      },
      cancels: () => void cancellation.tick().catch((err: unknown) => log.debug("cancels could not be read", { err })),
    })
    .catch((err: unknown) => log.debug("hints could not be listened for", { err }));
}
