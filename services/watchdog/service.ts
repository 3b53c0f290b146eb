import { systemClock } from "#libs/clock/clock.ts";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import { WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { startHost } from "#libs/service/service-host.ts";
import type { WatchdogConfig } from "./config.ts";
import { Rings } from "./core/rings.ts";
import { whileDatabaseAnswers } from "./failures.ts";
import { loadSamples } from "./load.ts";
import { listIncidents } from "./rpc/list-incidents.ts";
import { listVerdicts } from "./rpc/list-verdicts.ts";
import { shouldRollback } from "./rpc/should-rollback.ts";
import { trackExecutions } from "./rpc/track-executions.ts";
import { poolSettings } from "./sql/pool-settings.ts";
import { SubjectDirectory } from "./subject-directory.ts";
import { Tracker } from "./tracker.ts";
import { Trimmer } from "./trimmer.ts";
import { Watch } from "./watch.ts";

export interface Watchdog extends AsyncDisposable {
  readonly grpcPort: number;
  readonly httpPort: number;
}

const trimEveryMs = 1_000;

/**
 * It judges by what is stored at its start and what it is sent itself: of several replicas at once each sees its own share of
 * the executions until it is started again. Run one.
 */
export async function startWatchdog(config: WatchdogConfig): Promise<Watchdog> {
  await using stack = new AsyncDisposableStack();
  const migrationsDirectory = new URL("./sql/migrations/", import.meta.url);
  const host = stack.use(await startHost({ name: "watchdog", config, migrationsDirectory, poolSettings }));
  const { pool, log, metrics } = host;
  const clock = systemClock;
  const rings = new Rings({ maxAgents: config.AGENT_RINGS, maxVersions: config.VERSION_RINGS });
  const subjects = new SubjectDirectory(pool, clock, 4 * (config.AGENT_RINGS + config.VERSION_RINGS));

  const samples = metrics.counter("samples_total", "Samples of executions stored", ["result"]);
  const incidents = metrics.counter("incidents_total", "Incidents, by what became of them", ["change"]);
  const trimmed = metrics.counter("trimmed_samples_total", "Samples deleted because newer ones have taken their place");
  const watch = new Watch(rings, pool, clock, (change) => incidents.add(1, { change }));
  metrics.observableGauge("rings", "Ring buffers in memory", () => [
    [rings.agentCount, { of: "agents" }],
    [rings.versionCount, { of: "versions" }],
  ]);
  metrics.observableGauge("open_incidents", "Incidents that have not ended", () => watch.openIncidents);

  const trimmer = new Trimmer({
    pool,
    sampleRetentionMs: config.SAMPLE_RETENTION,
    batchRetentionMs: config.BATCH_RETENTION,
    onTrimmed: (count) => trimmed.add(count),
  });
  const tracker = new Tracker({
    pool,
    subjects,
    onStored(stored) {
      let failed = 0;
      for (const { subject, sample } of stored) {
        watch.push(subject, sample);
        trimmer.added(sample.subjectId);
        if (sample.failed) failed++;
      }
      if (failed > 0) samples.add(failed, { result: "failed" });
      if (stored.length > failed) samples.add(stored.length - failed, { result: "completed" });
    },
  });

  host.mount(WatchdogService, {
    trackExecutions: (request) => whileDatabaseAnswers(() => trackExecutions(request, tracker)),
    shouldRollback: (request) => whileDatabaseAnswers(() => shouldRollback(request, pool, rings, subjects, clock)),
    listVerdicts: (request) => listVerdicts(request, watch),
    listIncidents: (request) => whileDatabaseAnswers(() => listIncidents(request, pool)),
  });

  await watch.load();
  const loaded = await loadSamples(pool, ({ subject, ...sample }) => {
    subjects.learn(sample.subjectId, subject);
    watch.push(subject, sample);
    trimmer.added(sample.subjectId);
  });
  log.info("samples loaded", { samples: loaded, agents: rings.agentCount, versions: rings.versionCount });

  const stop = new AbortController();
  const loops = [
    { name: "judging", everyMs: config.JUDGE_INTERVAL, step: (signal: AbortSignal) => watch.tick(signal) },
    { name: "trimming", everyMs: trimEveryMs, step: () => trimmer.tick() },
  ].map(({ name, everyMs, step }) => {
    // The host says that Postgres is away; nobody needs to hear it from each loop.
    const tick = (signal: AbortSignal) => step(signal).catch(unlessDisconnected);
    return new Ticker({ name, everyMs, tick, clock, log }).run(stop.signal);
  });
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

function unlessDisconnected(error: unknown): void {
  if (!isConnectionFailure(error)) throw error;
}
