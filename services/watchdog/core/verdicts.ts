import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { Evidence } from "./finding.ts";
import type { AgentRing, Rings, VersionRing } from "./rings.ts";
import type { Subject } from "./sample.ts";
import { type TrialVerdict, VersionTrial } from "./trial.ts";

export interface PlainVerdict {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  /** Empty: the version as a whole. */
  readonly agentId: string;
  /** Empty: all. */
  readonly capability: string;
  readonly kind: VerdictKind;
  readonly evidence: Evidence;
  readonly summary: string;
}

/** What the trial of a version by its executions of one capability says. */
export function judgeVersion({ group, version, trying }: VersionRing): PlainVerdict {
  const { kind, evidence, because } = trying!.trial.verdict();
  const { namespace, name, capability } = group;
  const summary = `Version ${version} of ${name} ${because} (capability ${capability}).`;
  return { namespace, name, version, agentId: "", capability, kind, evidence, summary };
}

export function isBad(kind: VerdictKind): boolean {
  return kind === VerdictKind.FAILING || kind === VerdictKind.SLOWER || kind === VerdictKind.LEAKING;
}

export interface AgentJudgement {
  readonly shouldRollback: boolean;
  readonly reason: string;
  readonly verdict: PlainVerdict;
}

const severity: readonly VerdictKind[] = [
  VerdictKind.FAILING,
  VerdictKind.SLOWER,
  VerdictKind.LEAKING,
  VerdictKind.HEALTHY,
  VerdictKind.UNDECIDED,
];

/**
 * Whether the agent's version, the one of its last execution, should be rolled back: when any capability that the agent
 * executed with it has a bad verdict. An agent that fails beside a version that does not is the agent's own trouble: that is
 * said, and nothing is to be rolled back. An agent without a name is judged alone: whether it fails mostly, or leaks.
 */
export function judgeAgent(
  agent: AgentRing,
  rings: Rings,
  subjectOf: (id: number) => Subject | undefined,
): AgentJudgement {
  const { namespace, agentId, name, version } = agent.subject;
  const own = new VersionTrial({});
  const capabilities = new Set<string>();
  for (const sample of agent.ring.samples()) {
    const subject = subjectOf(sample.subjectId);
    if (subject === undefined || subject.name !== name || subject.version !== version) continue;
    own.observe("canary", { ...sample, agentId });
    capabilities.add(subject.capability);
  }
  const alone = agentVerdict(agent.subject, own.verdict());
  if (name === "") {
    return { shouldRollback: isBad(alone.kind), reason: alone.summary, verdict: alone };
  }
  const verdicts = [...capabilities].flatMap((capability) => {
    const ring = rings.group(namespace, name, capability)?.versions.get(version);
    return ring === undefined ? [] : [judgeVersion(ring)];
  });
  const worst = verdicts.toSorted((a, b) => severity.indexOf(a.kind) - severity.indexOf(b.kind))[0] ?? alone;
  if (!isBad(worst.kind) && isBad(alone.kind) && failsMoreThan(alone, worst)) {
    return {
      shouldRollback: false,
      reason: `${alone.summary} Its version does not: ${worst.summary} It is agent ${agentId}, not version ${version}.`,
      verdict: alone,
    };
  }
  return { shouldRollback: isBad(worst.kind), reason: worst.summary, verdict: worst };
}

function agentVerdict({ namespace, agentId, name, version }: Subject, verdict: TrialVerdict): PlainVerdict {
  const { kind, evidence, because } = verdict;
  const summary = `Agent ${agentId} ${because}.`;
  return { namespace, agentId, name, version, capability: "", kind, evidence, summary };
}

function failsMoreThan(agent: PlainVerdict, { evidence }: PlainVerdict): boolean {
  return agent.kind === VerdictKind.FAILING && (agent.evidence.failureShare ?? 0) >= 2 * (evidence.failureShare ?? 0);
}
