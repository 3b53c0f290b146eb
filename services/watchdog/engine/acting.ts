import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { RegistryMethods } from "./registry-client.ts";
import { RolloutKind, type Version, VersionStage } from "#libs/proto/legion/registry/v1/version_pb.ts";
import { IncidentAction, type Verdict, VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { errorReason, isUnavailable } from "#libs/rpc/errors.ts";
import { attribute } from "#libs/telemetry/attributes.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { recordSpan, startSpan } from "#libs/telemetry/task-spans.ts";
import { type IncidentMove, moveIncident, type OpenIncident, readOpenIncidents } from "../sql/incidents.ts";
import type { ActiveTrial, Trials } from "./trials.ts";
import type { NameVersions, Versions } from "./versions.ts";

export interface ActingOptions {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: RegistryMethods;
  readonly versions: Versions;
  readonly trials: Trials;
  /** Of a name's agents, in percent, this many are taken out at once at most. */
  readonly maxShare: number;
  readonly stageExecutions: number;
  /** What could not be taken out is judged anew after so long. */
  readonly reviewMs: number;
  /** A version was rolled back and its sessions have drained, so many milliseconds after the incident began. */
  readonly onRolledBack: (durationMs: number) => void;
  readonly onEjected: () => void;
}

const timeoutMs = 5_000;
/** What could not be done is tried again after this. */
const againMs = 1_000;

/**
 * Does what follows from an incident. Every step is written down after it was done and may be done again, so whoever leads
 * next goes on where the last one stopped.
 */
export class Acting {
  readonly #options: ActingOptions;
  readonly #triedMs = new Map<string, number>();
  /** When nothing could be done for the first time, or it was judged anew. */
  readonly #reviewedMs = new Map<string, number>();

  constructor(options: ActingOptions) {
    this.#options = options;
  }

  /** One look at everything that is left to be done. */
  async tick(): Promise<void> {
    const { pool, clock, versions } = this.#options;
    const open = await readOpenIncidents(pool);
    const ids = new Set(open.map(({ incidentId }) => incidentId));
    for (const times of [this.#triedMs, this.#reviewedMs]) {
      for (const id of times.keys()) if (!ids.has(id)) times.delete(id);
    }
    for (const incident of open) {
      const { incidentId, namespace, agentId } = incident;
      const nowMs = clock.monotonic();
      if (incident.step === "open" && nowMs - (this.#triedMs.get(incidentId) ?? -Infinity) < againMs) continue;
      this.#triedMs.set(incidentId, nowMs);
      if (agentId !== "") await this.#attempt(incident, () => this.#letRest(incident));
      else {
        versions.expire(namespace);
        await versions.refresh([incident]);
        await this.#attempt(incident, () => this.#rollBack(incident));
      }
    }
  }

  async #attempt(incident: OpenIncident, act: () => Promise<IncidentMove | undefined>): Promise<void> {
    const { pool, log } = this.#options;
    try {
      const move = await act();
      if (move === undefined || (move.step === incident.step && move.summary === incident.summary)) return;
      await moveIncident(pool, incident.incidentId, move);
      const { namespace, name, version, agentId, incidentId } = incident;
      const who = { namespace, name, version, agent_id: agentId, incident_id: incidentId };
      log.warn(move.summary, { step: move.step, ...who });
    } catch (err) {
      if (!isUnavailable(err)) log.error("an incident could not be dealt with; trying again", { err });
    }
  }

  async #rollBack(incident: OpenIncident): Promise<IncidentMove | undefined> {
    const { registry, clock, versions, trials, maxShare, onRolledBack } = this.#options;
    const { namespace, name, version, number, verdict, incidentId } = incident;
    const known = versions.find(incident);
    const bad = known?.versions.get(version);
    if (known === undefined || bad === undefined) return nothing(incident, "The Registry does not know the version.");
    const over = { step: "done", action: actionOf(incident) } as const;
    if (bad.trial !== number) return { ...over, summary: `${verdict.summary} A person promoted it meanwhile.` };
    const isMine = bad.barred && bad.incidentId === incidentId;
    if (bad.barred && !isMine) return { ...over, summary: `${verdict.summary} It was barred already.` };
    if (!isMine && known.policy?.kind === RolloutKind.MANUAL) {
      return nothing(incident, "The policy is manual: nothing was done.");
    }

    const all = trials.ofVersion(namespace, name, version, number);
    if (!isMine && all.length > 0 && !all.some(({ trial }) => trial.isBad)) return this.#passing(incident, all);

    const span = startSpan("bar version", { parent: incident, attributes: attributesOf(incident) });
    const headers = span.traceparent === "" ? {} : { traceparent: span.traceparent };
    let remaining: number;
    try {
      const notTo = bad.stage === VersionStage.CURRENT ? this.#unfit(known, bad, verdict) : [];
      const reason = verdict.summary.slice(0, 1_000);
      const request = { namespace, name, version, reason, incidentId, revision: bad.revision, maxShare, notTo };
      const answer = await registry.barVersion(request, { timeoutMs, headers });
      remaining = answer.remainingSessions;
      if (remaining === 0 && (answer.version?.drainingSessions ?? 0) === 0) {
        const durationMs = clock.now() - incident.startTime.getTime();
        onRolledBack(durationMs);
        recordSpan("rollback", {
          parent: incident,
          attributes: attributesOf(incident),
          startTimeMs: incident.startTime.getTime(),
          endTimeMs: clock.now(),
        });
        const summary = `${verdict.summary} Rolled back: it gets no work until a person promotes it.`;
        return { step: "done", action: IncidentAction.ROLLED_BACK, summary };
      }
    } catch (error) {
      span.recordError(error);
      const refused = errorReason(error);
      if (refused === "LAST_HEALTHY_VERSION") {
        this.#review(incidentId, all);
        return nothing(incident, "No other version that is fit for it has a session: nothing was done.");
      }
      // It is looked at anew.
      if (refused === "VERSION_CHANGED") return undefined;
      throw error;
    } finally {
      span.end();
      versions.expire(namespace);
    }
    return { step: "acting", action: IncidentAction.ROLLED_BACK, summary: `${verdict.summary} Being rolled back.` };
  }

  /** Now and then: a bad hour that is over is not to be held against a version when another one comes. */
  #review(incidentId: string, all: readonly ActiveTrial[]): void {
    const { clock, trials, reviewMs } = this.#options;
    const nowMs = clock.monotonic();
    const sinceMs = this.#reviewedMs.get(incidentId);
    if (sinceMs === undefined) this.#reviewedMs.set(incidentId, nowMs);
    if (sinceMs === undefined || nowMs - sinceMs < reviewMs) return;
    this.#reviewedMs.set(incidentId, nowMs);
    for (const active of all) if (active.trial.isBad) trials.restart(active);
  }

  /** It is judged anew, and nothing was found so far. */
  #passing({ verdict }: OpenIncident, all: readonly ActiveTrial[]): IncidentMove | undefined {
    const passed = all.reduce((sum, { trial }) => sum + trial.verdict().passed, 0);
    if (passed < this.#options.stageExecutions) return undefined;
    const since = `Nothing could be done; it has done well since, in ${passed} executions.`;
    return { step: "passed", action: IncidentAction.RECORDED, summary: `${verdict.summary} ${since}` };
  }

  /**
   * Versions that are not to take over from a current one: bad themselves, or not proven. The one that did better beside it may,
   * however bad: it is better.
   */
  #unfit({ versions }: NameVersions, bad: Version, { kind, evidence }: Verdict): string[] {
    const { trials, stageExecutions } = this.#options;
    const unfit: string[] = [];
    for (const { namespace, name, version, trial, stage } of versions.values()) {
      const didBetter = version === evidence?.controlVersion && kind !== VerdictKind.LEAKING;
      if (version === bad.version || didBetter) continue;
      const all = trials.ofVersion(namespace, name, version, trial);
      const passed = all.reduce((sum, one) => sum + one.trial.verdict().passed, 0);
      const isProven = stage !== VersionStage.CANARY || passed >= stageExecutions;
      if (!isProven || all.some((one) => one.trial.isBad)) unfit.push(version);
    }
    return unfit;
  }

  async #letRest(incident: OpenIncident): Promise<IncidentMove | undefined> {
    const { registry, clock, maxShare, onEjected } = this.#options;
    const { namespace, agentId, restMs, verdict, incidentId, step, actTime } = incident;
    if (step === "acting") {
      if (clock.now() < (actTime?.getTime() ?? 0) + restMs) return undefined;
      return { step: "done", action: IncidentAction.EJECTED, summary: `${verdict.summary} It rested, and is back.` };
    }
    const rest = durationFromMs(restMs);
    try {
      const request = { namespace, agentId, rest, reason: verdict.summary.slice(0, 1_000), incidentId, maxShare };
      await registry.ejectAgent(request, { timeoutMs });
    } catch (error) {
      const refused = errorReason(error);
      if (refused !== "TOO_MANY_EJECTED" && refused !== "AGENT_NOT_FOUND") throw error;
      const why = refused === "AGENT_NOT_FOUND" ? "The Registry does not know it" : "Too few others would be left";
      const summary = `${verdict.summary} ${why}: nothing was done.`;
      return { step: "done", action: IncidentAction.RECORDED, summary };
    }
    onEjected();
    const summary = `${verdict.summary} It rests for ${Math.round(restMs / 1_000)} s.`;
    return { step: "acting", action: IncidentAction.EJECTED, summary };
  }
}

const actionOf = ({ step }: OpenIncident): IncidentAction =>
  step === "acting" ? IncidentAction.ROLLED_BACK : IncidentAction.RECORDED;

/** It stays open: what stands in the way may change. */
function nothing({ step, verdict }: OpenIncident, why: string): IncidentMove {
  return { step, action: IncidentAction.RECORDED, summary: `${verdict.summary} ${why}` };
}

function attributesOf({ namespace, name, version, incidentId }: OpenIncident) {
  return {
    [attribute.namespace]: namespace,
    [attribute.agentName]: name,
    [attribute.agentVersion]: version,
    "legion.incident.id": incidentId,
  };
}
