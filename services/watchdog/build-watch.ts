import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Metrics } from "#libs/telemetry/metrics.ts";
import type { WatchdogConfig } from "./config.ts";
import type { Rings } from "./core/rings.ts";
import { Acting } from "./engine/acting.ts";
import { Judging } from "./engine/judging.ts";
import type { Leadership } from "./engine/leadership.ts";
import { Promoting } from "./engine/promoting.ts";
import type { RegistryMethods } from "./engine/registry-client.ts";
import { Versions } from "./engine/versions.ts";
import type { SubjectDirectory } from "./subject-directory.ts";
import { Watch } from "./watch.ts";

export interface WatchParts {
  readonly config: WatchdogConfig;
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly rings: Rings;
  readonly subjects: SubjectDirectory;
  readonly leadership: Leadership;
  readonly registry: RegistryMethods;
}

/** What judges and acts, with what is counted of it. */
export function buildWatch(parts: WatchParts): Watch {
  const { config, pool, clock, log, metrics, rings, subjects, leadership, registry } = parts;
  const incidents = metrics.counter("incidents_total", "Incidents, by what became of them", ["change"]);
  // A rate misses the first increase of a series that has just appeared, and these are rare.
  for (const change of ["opened", "rolled back", "ejected"]) incidents.add(0, { change });
  const advanced = metrics.counter("advanced_versions_total", "Canaries that were brought to their next stage");
  const rollbackTime = metrics.durationHistogram(
    "rollback_seconds",
    "From a bad verdict on a version until its sessions had drained",
  );
  const stageExecutions = config.STAGE_EXECUTIONS;
  const maxShare = config.MAX_SHARE;
  const versions = new Versions(registry, clock, log);
  const judging = new Judging({
    pool,
    clock,
    rings,
    versions,
    restMs: config.EJECTION_REST,
    subjectOf: (subjectId) => subjects.subject(subjectId),
    onIncident: () => incidents.add(1, { change: "opened" }),
  });
  const { trials } = judging;
  const acting = new Acting({
    pool,
    clock,
    log,
    registry,
    versions,
    trials,
    maxShare,
    stageExecutions,
    reviewMs: config.REVIEW_INTERVAL,
    onRolledBack(durationMs) {
      incidents.add(1, { change: "rolled back" });
      rollbackTime.recordMs(durationMs);
    },
    onEjected: () => incidents.add(1, { change: "ejected" }),
  });
  const promoting = new Promoting({
    registry,
    versions,
    trials,
    stageExecutions,
    log,
    onAdvanced: () => advanced.add(1),
  });
  return new Watch({
    pool,
    rings,
    versions,
    leadership,
    judging,
    acting,
    promoting,
    onSample: ({ subject, subjectId }) => subjects.learn(subjectId, subject),
    clock,
    log,
    everyMs: config.JUDGE_INTERVAL,
  });
}
