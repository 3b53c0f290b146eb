import type { MessageInitShape } from "@bufbuild/protobuf";
import { VersionStage } from "#libs/proto/legion/registry/v1/version_pb.ts";
import type { VerdictSchema } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { keyOf, type Rings, type VersionRing } from "../core/rings.ts";
import type { Sample, Subject } from "../core/sample.ts";
import { type Baseline, capabilityAlpha, type TrialOptions, VersionTrial } from "../core/trial.ts";
import { isEarlier } from "../core/version-order.ts";
import type { JudgedTrial, SavedTrial, TrialKey, TrialRow } from "../sql/trials.ts";
import type { NameVersions, Versions } from "./versions.ts";

export interface ActiveTrial {
  readonly key: TrialKey;
  trial: VersionTrial;
  readonly control: string | undefined;
  touched: number;
}

/** What one version and its predecessors are judged by: false alarms of a whole rollout. */
const alpha = 0.001;
/** Executions that make a baseline. */
const enough = 20;
/** Of one name and capability, so many versions are followed. */
const mostTrials = 10;

/** The trials under way, for each name and capability those of its versions. */
export class Trials {
  readonly #rings: Rings;
  readonly #versions: Versions;
  readonly #groups = new Map<string, Map<string, ActiveTrial>>();
  readonly #changed = new Set<ActiveTrial>();
  readonly #bad = new Set<ActiveTrial>();
  #touch = 0;

  constructor(rings: Rings, versions: Versions) {
    this.#rings = rings;
    this.#versions = versions;
  }

  /** Goes on with those that were saved. */
  restore(rows: readonly TrialRow[]): void {
    this.#groups.clear();
    this.#changed.clear();
    this.#bad.clear();
    for (const { state, ...key } of rows) {
      const before = this.#groupOf(key).get(key.version);
      if (before !== undefined && before.key.number > key.number) continue;
      this.#add(key, VersionTrial.from(state), state.options.controlVersion);
    }
  }

  /** An execution, in the order of their numbers. */
  observe(subject: Subject, sample: Sample): void {
    const { agentId, version } = subject;
    const { durationMs, endTimeMs, failed, memoryAfterBytes, heapAfterCollectionBytes } = sample;
    const observation = { agentId, durationMs, endTimeMs, failed, memoryAfterBytes, heapAfterCollectionBytes };
    this.#trialOf(subject).touched = ++this.#touch;
    for (const active of this.#groupOf(subject).values()) {
      const isCanary = active.key.version === version;
      if (!isCanary && active.control !== version) continue;
      const wasBad = active.trial.isBad;
      active.trial.observe(isCanary ? "canary" : "control", observation);
      this.#changed.add(active);
      if (active.trial.isBad && !wasBad) this.#bad.add(active);
    }
  }

  /** Those that are bad and not dealt with; those too that were so when they were restored. */
  get bad(): ActiveTrial[] {
    return [...this.#bad];
  }

  /** It is dealt with. */
  settle(active: ActiveTrial): void {
    this.#bad.delete(active);
  }

  /** Judges the version anew. */
  restart(active: ActiveTrial): void {
    this.settle(active);
    active.trial = new VersionTrial(active.trial.toJSON().options);
    this.#changed.add(active);
  }

  /** Those that have changed since this was last asked. */
  takeChanged(): SavedTrial[] {
    const changed = [...this.#changed].map((active) => savedTrial(active));
    this.#changed.clear();
    return changed;
  }

  /** Those of the present number of a version. */
  ofVersion(namespace: string, name: string, version: string, number: number): ActiveTrial[] {
    const trials: ActiveTrial[] = [];
    for (const group of this.#groups.values()) {
      const active = group.get(version);
      if (active?.key.namespace !== namespace || active.key.name !== name || active.key.number !== number) continue;
      trials.push(active);
    }
    return trials;
  }

  /** The last trial of each version and capability; an empty name stands for all. */
  *list(namespace: string, name: string): Generator<JudgedTrial> {
    for (const group of this.#groups.values()) {
      for (const active of group.values()) {
        if (active.key.namespace !== namespace || (name !== "" && active.key.name !== name)) continue;
        yield judgedTrial(active);
      }
    }
  }

  #trialOf({ namespace, name, version, capability }: Subject): ActiveTrial {
    const found = this.#versions.find({ namespace, name });
    // It never said hello, or the Registry cannot be asked.
    const known = found?.versions.has(version) ? found : undefined;
    const group = this.#groupOf({ namespace, name, capability });
    const active = group.get(version);
    // What the Registry never saw has one trial.
    const number = known?.versions.get(version)?.trial ?? active?.key.number ?? 1;
    if (active !== undefined && active.key.number >= number) return active;
    const key = { namespace, name, version, number, capability };
    const control = controlOf(key, known) ?? (known === undefined ? this.#earlier(key)?.version : undefined);
    const before = known === undefined ? control : (control ?? predecessorOf(key, known));
    const baseline = number > 1 ? undefined : this.#baseline(key, before);
    const options: TrialOptions = {
      ...(control !== undefined && number === 1 && { controlVersion: control }),
      ...(baseline && { baseline }),
      alpha: capabilityAlpha(alpha, this.ofVersion(namespace, name, version, number).length + 1),
    };
    return this.#add(key, new VersionTrial(options), options.controlVersion);
  }

  #add(key: TrialKey, trial: VersionTrial, control: string | undefined): ActiveTrial {
    const group = this.#groupOf(key);
    const active = { key, trial, control, touched: ++this.#touch };
    group.set(key.version, active);
    if (trial.isBad) this.#bad.add(active);
    if (group.size > mostTrials) {
      const [oldest] = [...group.values()].toSorted((a, b) => a.touched - b.touched);
      group.delete(oldest!.key.version);
    }
    return active;
  }

  #groupOf({ namespace, name, capability }: Pick<TrialKey, "namespace" | "name" | "capability">) {
    const key = keyOf(namespace, name, capability);
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, (group = new Map()));
    return group;
  }

  /** For samples of agents that the Registry does not know: the newest of the earlier versions. */
  #earlier({ namespace, name, version, capability }: TrialKey): VersionRing | undefined {
    const group = this.#rings.group(namespace, name, capability);
    const own = group?.versions.get(version);
    if (group === undefined || own === undefined) return undefined;
    const earlier = [...group.versions.values()].filter((other) => other !== own && isEarlier(other, own));
    return earlier.toSorted((a, b) => b.touched - a.touched)[0];
  }

  #baseline({ namespace, name, capability }: TrialKey, version: string | undefined): Baseline | undefined {
    const ring = this.#rings.group(namespace, name, capability)?.versions.get(version ?? "");
    if (version === undefined || ring === undefined) return undefined;
    const samples = [...ring.ring.samples()];
    const durationsMs = samples.filter(({ failed }) => !failed).map(({ durationMs }) => durationMs);
    if (durationsMs.length < enough) return undefined;
    return { version, durationsMs, executions: samples.length, failures: samples.length - durationsMs.length };
  }
}

/** The version that has the rest of the work, for one that is tried beside it. */
function controlOf({ version }: TrialKey, known: NameVersions | undefined): string | undefined {
  const own = known?.versions.get(version);
  if (known === undefined || own === undefined || own.stage === VersionStage.CURRENT) return undefined;
  const current = [...known.versions.values()].find(({ stage }) => stage === VersionStage.CURRENT);
  return current?.version;
}

/** The one that was seen before it, and is not barred. */
function predecessorOf({ version }: TrialKey, { versions }: NameVersions): string | undefined {
  // Newest first.
  const all = [...versions.values()];
  const own = all.findIndex((one) => one.version === version);
  return own < 0 ? undefined : all.slice(own + 1).find(({ barred }) => !barred)?.version;
}

function savedTrial(active: ActiveTrial): SavedTrial {
  return { ...judgedTrial(active), state: active.trial.toJSON() };
}

function judgedTrial(active: ActiveTrial): JudgedTrial {
  const { executions, passed } = active.trial.verdict();
  return { ...active.key, verdict: verdictOf(active), executions, passed };
}

export function verdictOf({ key, trial }: Pick<ActiveTrial, "key" | "trial">): MessageInitShape<typeof VerdictSchema> {
  const { namespace, name, version, capability } = key;
  const { kind, evidence, because } = trial.verdict();
  const summary = `Version ${version} of ${name} ${because} (capability ${capability}).`;
  return { namespace, name, version, agentId: "", capability, kind, evidence, summary };
}
