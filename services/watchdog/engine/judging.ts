import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { newTraceparent } from "#libs/telemetry/traceparent.ts";
import { culpritOf } from "../core/culprit.ts";
import type { Rings } from "../core/rings.ts";
import type { Subject } from "../core/sample.ts";
import { incidentsOfAgent, openIncident } from "../sql/incidents.ts";
import type { StoredSample } from "../sql/read-samples.ts";
import { beginJudging, saveTrials } from "../sql/trials.ts";
import type { TrialVerdict } from "../core/trial.ts";
import { AgentTrials } from "./agent-trials.ts";
import { type ActiveTrial, Trials, verdictOf } from "./trials.ts";
import type { Versions } from "./versions.ts";

export interface JudgingOptions {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly rings: Rings;
  readonly versions: Versions;
  /** An agent's first rest; each further one within a day is twice as long. */
  readonly restMs: number;
  readonly subjectOf: (subjectId: number) => Subject | undefined;
  readonly onIncident: () => void;
}

const longestRestMs = 3_600_000;

/**
 * What only the replica that leads does with executions: feeds the trials, and records incidents. Trials are written down
 * together with how far they have come, so a restart changes nothing about their verdicts.
 */
export class Judging {
  readonly trials: Trials;
  readonly #agents = new AgentTrials();
  readonly #options: JudgingOptions;
  #epoch = 0n;
  /** The last sample that was judged. */
  #position = 0n;

  constructor(options: JudgingOptions) {
    this.#options = options;
    this.trials = new Trials(options.rings, options.versions);
  }

  /** This replica leads from now on. @returns the last sample that was judged. */
  async begin(): Promise<bigint> {
    const { epoch, position, trials } = await beginJudging(this.#options.pool);
    this.#epoch = epoch;
    this.#position = position;
    this.trials.restore(trials);
    return position;
  }

  /** Executions in the order of their numbers; those that were judged are passed over. */
  observe({ sampleId, subject, ...sample }: StoredSample): void {
    if (sampleId <= this.#position) return;
    this.#position = sampleId;
    if (subject.name === "") return;
    this.trials.observe(subject, sample);
    this.#agents.observe(subject, sample);
  }

  /** Records what is the matter. @returns whether there was anything. */
  async conclude(): Promise<boolean> {
    const found = this.trials.bad.length > 0;
    for (const active of this.trials.bad) {
      const culprit = this.#culprit(active);
      if (culprit === undefined) {
        await this.#recordVersion(active);
        this.trials.settle(active);
      } else {
        await this.#recordAgent({ ...active.key, agentId: culprit }, active.trial.verdict());
        this.trials.restart(active);
      }
    }
    for (const { subject, verdict } of this.#agents.takeBad()) await this.#recordAgent(subject, verdict);
    return found;
  }

  /** Writes down how far it is. @returns false when another replica leads by now. */
  async save(): Promise<boolean> {
    return await saveTrials(this.#options.pool, this.#epoch, this.#position, this.trials.takeChanged());
  }

  async #recordVersion(active: ActiveTrial): Promise<void> {
    const { pool, clock, onIncident } = this.#options;
    const verdict = { ...verdictOf(active), verdictTime: timestampFromMs(clock.now()) };
    const incident = { verdict, number: active.key.number, restMs: 0, traceparent: newTraceparent() };
    if (await openIncident(pool, incident)) onIncident();
  }

  async #recordAgent(subject: Subject, { kind, evidence, because }: TrialVerdict): Promise<void> {
    const { pool, clock, restMs, onIncident } = this.#options;
    const { namespace, name, version, capability, agentId } = subject;
    const { number, recent } = await incidentsOfAgent(pool, namespace, agentId);
    const summary = `Agent ${agentId} of ${name} ${version} ${because} (capability ${capability}), beside the other agents.`;
    const verdict = {
      namespace,
      name,
      version,
      capability,
      agentId,
      kind,
      evidence,
      summary,
      verdictTime: timestampFromMs(clock.now()),
    };
    const rest = Math.min(restMs * 2 ** Math.min(recent, 20), Math.max(restMs, longestRestMs));
    this.#agents.forget(subject);
    if (await openIncident(pool, { verdict, number: number + 1, restMs: rest, traceparent: newTraceparent() })) {
      onIncident();
    }
  }

  /** The one agent that a version owes its verdict to. */
  #culprit({ key, control, trial }: ActiveTrial): string | undefined {
    const { rings, subjectOf } = this.#options;
    const group = rings.group(key.namespace, key.name, key.capability);
    const own = group?.versions.get(key.version);
    const against = group?.versions.get(control ?? trial.toJSON().options.baseline?.version ?? "");
    if (own === undefined || against === undefined) return undefined;
    const samples = [...own.ring.samples()].flatMap((sample) => {
      const agentId = subjectOf(sample.subjectId)?.agentId;
      return agentId === undefined ? [] : [{ ...sample, agentId }];
    });
    return culpritOf(samples, against.ring.samples());
  }
}
