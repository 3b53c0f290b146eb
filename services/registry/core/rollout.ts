/** What the Registry knows of one version of a name when it decides about the name. */
export interface VersionState {
  readonly version: string;
  readonly stage: Stage;
  readonly weight: number;
  readonly revision: bigint;
  readonly trial: number;
  readonly reason: string;
  readonly incidentId: string;
  readonly byHand: boolean;
  /** Sessions that do not drain. */
  readonly sessions: number;
  /** Milliseconds since 1970. */
  readonly firstSeenMs: number;
  /** When it became the current one, the last time. */
  readonly promotedMs: number | undefined;
}

export type Stage = "new" | "canary" | "current" | "standby" | "fixed" | "barred";

export interface Policy {
  readonly kind: "canary" | "immediate" | "manual";
  /** The weights of a canary, before 100; rising. */
  readonly stages: readonly number[];
  /** Executions that let a canary pass a stage; 0: as the Watchdog thinks best. */
  readonly stageExecutions: number;
}

export const defaultPolicy: Policy = { kind: "canary", stages: [10, 50], stageExecutions: 0 };

/** Why nothing was changed. */
export type Refusal = "VERSION_NOT_FOUND" | "VERSION_CHANGED" | "VERSION_BARRED" | "LAST_HEALTHY_VERSION";

/**
 * The weights that follow from the stages. The current version gets what canaries and fixed ones with a session leave of 100.
 * When nobody with a session has a weight, the version that was current last gets everything, for as long as that is so:
 * stages stay as they are, so that sessions which come and go decide nothing.
 */
export function withWeights(versions: readonly VersionState[]): VersionState[] {
  const isLive = ({ sessions }: VersionState) => sessions > 0;
  let left = 100;
  for (const one of versions) if (isLive(one) && (one.stage === "canary" || one.stage === "fixed")) left -= one.weight;
  const weighed = versions.map((one) => {
    if (one.stage === "current") return { ...one, weight: Math.max(0, left) };
    return one.stage === "standby" ? { ...one, weight: 0 } : one;
  });
  if (weighed.some((one) => isLive(one) && one.weight > 0 && one.stage !== "barred")) return weighed;
  const substitute = newest(
    weighed.filter((one) => isLive(one) && (one.stage === "standby" || one.stage === "current")),
  );
  return weighed.map((one) => (one === substitute ? { ...one, weight: 100 } : one));
}

/** A version was seen for the first time. */
export function admit(
  versions: readonly VersionState[],
  version: string,
  policy: Policy,
  nowMs: number,
): VersionState[] {
  const others = versions.filter((one) => one.version !== version && one.stage !== "new");
  const healthy = others.some((one) => one.stage !== "barred" && one.sessions > 0);
  if (!healthy)
    return replaceCurrent(versions, version, nowMs, { reason: "No other version had a session when it came." });
  if (policy.kind === "immediate")
    return replaceCurrent(versions, version, nowMs, { reason: "The policy is immediate." });
  const decided: Partial<VersionState> =
    policy.kind === "manual"
      ? { stage: "fixed", weight: 0, reason: "The policy is manual: a person gives it a weight, or promotes it." }
      : { stage: "canary", weight: policy.stages[0] ?? 10, reason: "A new version is tried with a part of the work." };
  return withWeights(change(versions, version, decided));
}

/** A canary has passed its stage. */
export function advance(
  versions: readonly VersionState[],
  version: string,
  { revision, reason, policy, nowMs }: { revision: bigint; reason: string; policy: Policy; nowMs: number },
): VersionState[] | Refusal {
  const canary = find(versions, version);
  if (canary === undefined) return "VERSION_NOT_FOUND";
  if (canary.revision !== revision || canary.stage !== "canary") return "VERSION_CHANGED";
  const weight = policy.stages.find((stage) => stage > canary.weight);
  if (weight === undefined) return replaceCurrent(versions, version, nowMs, { reason });
  return withWeights(change(versions, version, { weight, reason }));
}

/** A person makes it the current one; whatever was found against it is forgiven. */
export function promote(versions: readonly VersionState[], version: string, nowMs: number): VersionState[] | Refusal {
  const chosen = find(versions, version);
  if (chosen === undefined) return "VERSION_NOT_FOUND";
  const decided = { reason: "A person promoted it.", byHand: true, trial: chosen.trial + 1 };
  return replaceCurrent(versions, version, nowMs, decided);
}

export function setWeight(
  versions: readonly VersionState[],
  version: string,
  weight: number,
): VersionState[] | Refusal {
  const chosen = find(versions, version);
  if (chosen === undefined) return "VERSION_NOT_FOUND";
  if (chosen.stage === "barred") return weight === 0 ? [...versions] : "VERSION_BARRED";
  const decided = { stage: "fixed", weight, byHand: true, reason: "A person set its weight." } as const;
  return withWeights(change(versions, version, decided));
}

export interface Bar {
  readonly reason: string;
  /** Empty: a person asks. */
  readonly incidentId: string;
  /** 0: whichever it is. */
  readonly revision: bigint;
  /** Versions that are not to take the work over. */
  readonly notTo: readonly string[];
  readonly force: boolean;
}

/** Takes a version out, if another can do its work. Its weight is the caller's to set: 0, or 1 while its sessions are told. */
export function bar(
  versions: readonly VersionState[],
  version: string,
  how: Bar,
  nowMs: number,
): VersionState[] | Refusal {
  const bad = find(versions, version);
  if (bad === undefined) return "VERSION_NOT_FOUND";
  if (bad.stage === "barred") return [...versions];
  if (how.revision !== 0n && how.revision !== bad.revision) return "VERSION_CHANGED";
  const { reason, incidentId } = how;
  const decided = { stage: "barred", weight: 0, reason, incidentId, byHand: incidentId === "" } as const;
  const barred = change(versions, version, decided);
  const heirs = barred.filter(
    (one) => one.sessions > 0 && one.stage !== "barred" && one.stage !== "new" && !how.notTo.includes(one.version),
  );
  if (bad.stage !== "current") {
    const after = withWeights(barred);
    if (how.force || after.some((one) => one.weight > 0 && heirs.some(({ version: heir }) => heir === one.version))) {
      return after;
    }
    return "LAST_HEALTHY_VERSION";
  }
  const heir = newest(heirs.filter(({ stage }) => stage !== "fixed"));
  if (heir === undefined) {
    const others = heirs.some(({ weight }) => weight > 0);
    return how.force || others ? withWeights(barred) : "LAST_HEALTHY_VERSION";
  }
  return replaceCurrent(barred, heir.version, nowMs, { reason: `Version ${version} was taken out.` });
}

/** Makes a version the current one; what was current or on its way stands by, what was set by hand or barred stays. */
function replaceCurrent(
  versions: readonly VersionState[],
  version: string,
  nowMs: number,
  decided: Partial<VersionState>,
): VersionState[] {
  const byHand = decided.byHand ?? false;
  let changed = change(versions, version, { incidentId: "", byHand, ...decided, stage: "current", promotedMs: nowMs });
  for (const { version: other, stage } of versions) {
    if (other === version || !(stage === "current" || stage === "canary" || (byHand && stage === "fixed"))) continue;
    changed = change(changed, other, { stage: "standby", reason: `Version ${version} has taken over.`, byHand: false });
  }
  return withWeights(changed);
}

function change(versions: readonly VersionState[], version: string, to: Partial<VersionState>): VersionState[] {
  return versions.map((one) => (one.version === version ? { ...one, ...to, revision: one.revision + 1n } : one));
}

function newest(candidates: readonly VersionState[]): VersionState | undefined {
  const rank = ({ promotedMs, firstSeenMs }: VersionState) => [promotedMs ?? 0, firstSeenMs] as const;
  return candidates.toSorted((a, b) => rank(b)[0] - rank(a)[0] || rank(b)[1] - rank(a)[1])[0];
}

const find = (versions: readonly VersionState[], version: string) => versions.find((one) => one.version === version);
