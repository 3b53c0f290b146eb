import type { VersionGroup, VersionRing } from "./rings.ts";
import { ringCapacity } from "./sample-ring.ts";
import type { Sample } from "./sample.ts";
import { type Baseline, capabilityAlpha, VersionTrial } from "./trial.ts";
import { isEarlier } from "./version-order.ts";

/** A trial of a version, and the version that it is compared with. */
export interface Trying {
  readonly trial: VersionTrial;
  readonly control: VersionRing | undefined;
}

const alpha = 0.001;
const mostInBaseline = 500;

/**
 * Gives an execution, before it is in its ring, to the trial of its version and to those of which its version is the control. The
 * control of a version is, of those that came before it, the one that executed last when the two met. After a bad verdict has
 * stood for 1,000 executions the version is tried anew, with an alpha of its own.
 */
export function observe(group: VersionGroup, executed: VersionRing, agentId: string, sample: Sample): void {
  const execution = { ...sample, agentId };
  for (const ring of group.versions.values()) {
    if (ring === executed) {
      ring.trying ??= begin(ring, latestEarlier(group, ring));
      if (hasStood(ring.trying.trial)) ring.trying = begin(ring, latestEarlier(group, ring));
      ring.trying.trial.observe("canary", execution);
    } else if (ring.trying !== undefined) {
      if (ring.trying.control === undefined && isEarlier(executed, ring)) ring.trying = begin(ring, executed, true);
      if (ring.trying.control === executed) ring.trying.trial.observe("control", execution);
    }
  }
}

function hasStood(trial: VersionTrial): boolean {
  if (!trial.isBad) return false;
  const { executions, evidence } = trial.verdict();
  return executions - Number(evidence.samples) >= ringCapacity;
}

function begin(ring: VersionRing, control: VersionRing | undefined, again = false): Trying {
  const trial = new VersionTrial({
    ...(control && { controlVersion: control.version }),
    ...(control && control.ring.size > 0 && { baseline: baselineOf(control) }),
    alpha: capabilityAlpha(alpha, ring.group.number),
  });
  if (again) {
    // What it did while it was alone; its memory counts from now on.
    const memory = { agentId: "", memoryAfterBytes: 0, heapAfterCollectionBytes: 0 };
    for (const sample of ring.ring.samples()) trial.observe("canary", { ...sample, ...memory });
  }
  return { trial, control };
}

function latestEarlier(group: VersionGroup, ring: VersionRing): VersionRing | undefined {
  const earlier = [...group.versions.values()].filter((other) => other !== ring && isEarlier(other, ring));
  return earlier.toSorted((a, b) => b.touched - a.touched)[0];
}

function baselineOf({ version, ring }: VersionRing): Baseline {
  const samples = [...ring.samples()].slice(-mostInBaseline);
  const completed = samples.filter(({ failed }) => !failed);
  return {
    version,
    durationsMs: completed.map(({ durationMs }) => durationMs),
    executions: samples.length,
    failures: samples.length - completed.length,
  };
}
