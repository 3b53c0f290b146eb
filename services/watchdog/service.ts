import { hostPortText } from "#libs/config/env.ts";
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
import { buildWatch } from "./build-watch.ts";
import { Leadership } from "./engine/leadership.ts";
import { RegistryClient } from "./engine/registry-client.ts";
import { describeVersions } from "./rpc/describe-versions.ts";

export interface Watchdog extends AsyncDisposable {
  readonly grpcPort: number;
  readonly httpPort: number;
}

const trimEveryMs = 1_000;

/**
 * Any number of replicas may run: all of them take samples and answer questions, and one of them judges and acts, until its
 * connection to Postgres breaks; then another goes on.
 */
export async function startWatchdog(config: WatchdogConfig, signal?: AbortSignal): Promise<Watchdog> {
  await using stack = new AsyncDisposableStack();
  const migrationsDirectory = new URL("./sql/migrations/", import.meta.url);
  const host = stack.use(await startHost({ name: "watchdog", config, migrationsDirectory, poolSettings, signal }));
  const { pool, log, metrics } = host;
  const clock = systemClock;
  const rings = new Rings({ maxAgents: config.AGENT_RINGS, maxVersions: config.VERSION_RINGS });
  const subjects = new SubjectDirectory(pool, clock, 4 * (config.AGENT_RINGS + config.VERSION_RINGS));

  const registry = host.use(new RegistryClient(config.LEGION_REGISTRY.map(hostPortText)));
  const samples = metrics.counter("samples_total", "Samples of executions stored", ["result"]);
  const trimmed = metrics.counter("trimmed_samples_total", "Samples deleted because newer ones have taken their place");
  const leadership = host.use(new Leadership(pool));
  const watch = buildWatch({ config, pool, clock, log, metrics, rings, subjects, leadership, registry });
  metrics.observableGauge("rings", "Ring buffers in memory", () => [
    [rings.agentCount, { of: "agents" }],
    [rings.versionCount, { of: "versions" }],
  ]);
  metrics.observableGauge("leads", "1 in the replica that judges and acts", () => (watch.leads ? 1 : 0));

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
      for (const { sample } of stored) {
        trimmer.added(sample.subjectId);
        if (sample.failed) failed++;
      }
      if (failed > 0) samples.add(failed, { result: "failed" });
      watch.ticker.nudge();
      if (stored.length > failed) samples.add(stored.length - failed, { result: "completed" });
    },
  });

  host.mount(WatchdogService, {
    trackExecutions: (request) => whileDatabaseAnswers(() => trackExecutions(request, tracker)),
    shouldRollback: (request) => whileDatabaseAnswers(() => shouldRollback(request, pool, rings, subjects, watch)),
    listVerdicts: (request) => whileDatabaseAnswers(() => listVerdicts(request, watch)),
    describeVersions: (request) => whileDatabaseAnswers(() => describeVersions(request, rings, watch)),
    listIncidents: (request) => whileDatabaseAnswers(() => listIncidents(request, pool)),
  });

  const { loaded, lastId } = await loadSamples(pool, ({ subject, ...sample }) => {
    subjects.learn(sample.subjectId, subject);
    rings.push(subject, sample);
    trimmer.added(sample.subjectId);
  });
  watch.loaded(lastId);
  log.info("samples loaded", { samples: loaded, agents: rings.agentCount, versions: rings.versionCount });

  const stop = new AbortController();
  const trim = () => trimmer.tick().catch(unlessDisconnected);
  const loops = [
    watch.ticker.run(stop.signal),
    new Ticker({ name: "trimming", everyMs: trimEveryMs, tick: trim, clock, log }).run(stop.signal),
  ];
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
