import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { type Executions, failureShare, summarize } from "./executions.ts";
import { type Control, isBad, judge, type Judgement } from "./judge.ts";
import type { AgentRing, Rings, VersionRing } from "./rings.ts";
import type { Sample, Subject } from "./sample.ts";
import { isEarlier } from "./version-order.ts";

export interface PlainVerdict {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  /** Empty: the version as a whole. */
  readonly agentId: string;
  /** Empty: all. */
  readonly capability: string;
  readonly kind: VerdictKind;
  readonly evidence: Judgement["evidence"];
  readonly summary: string;
}

/** Judges a version by its executions of one capability, beside the other version that executed it last. */
export function judgeVersion(judged: VersionRing): PlainVerdict {
  const { namespace, name, capability } = judged.group;
  const judgement = judge(summarize(judged.ring.samples()), controlOf(judged));
  return {
    namespace,
    name,
    version: judged.version,
    agentId: "",
    capability,
    kind: judgement.kind,
    evidence: judgement.evidence,
    summary: `Version ${judged.version} of ${name} ${judgement.because} (capability ${capability}).`,
  };
}

/** An earlier version if there is one, for only that can say that this one became slower. */
function controlOf(judged: VersionRing): Control | undefined {
  const others = [...judged.group.versions.values()].filter((other) => other !== judged);
  const earlier = others.filter((other) => isEarlier(other, judged));
  const control = (earlier.length > 0 ? earlier : others).toSorted((a, b) => b.touched - a.touched)[0];
  if (control === undefined) return undefined;
  return {
    version: control.version,
    earlier: earlier.length > 0,
    executions: summarize(control.ring.samples()),
  };
}

export interface AgentJudgement {
  readonly shouldRollback: boolean;
  readonly reason: string;
  readonly verdict: PlainVerdict;
}

const severity: readonly VerdictKind[] = [
  VerdictKind.FAILING,
  VerdictKind.SLOWER,
  VerdictKind.HEALTHY,
  VerdictKind.UNDECIDED,
];

/**
 * Whether the agent's version, the one of its last execution, should be rolled back: when any capability that the agent
 * executed with it has a bad verdict. An agent that fails beside a version that does not is the agent's own trouble: that is
 * said, and nothing is to be rolled back. An agent without a name is judged alone.
 */
export function judgeAgent(
  agent: AgentRing,
  rings: Rings,
  subjectOf: (id: number) => Subject | undefined,
): AgentJudgement {
  const { namespace, agentId, name, version } = agent.subject;
  const own: Sample[] = [];
  const capabilities = new Set<string>();
  for (const sample of agent.ring.samples()) {
    const subject = subjectOf(sample.subjectId);
    if (subject === undefined || subject.name !== name || subject.version !== version) continue;
    own.push(sample);
    capabilities.add(subject.capability);
  }
  const executions = summarize(own);
  const alone = agentVerdict(agent.subject, judge(executions, undefined));
  if (name === "") {
    return { shouldRollback: isBad(alone.kind), reason: alone.summary, verdict: alone };
  }
  const verdicts = [...capabilities].flatMap((capability) => {
    const ring = rings.group(namespace, name, capability)?.versions.get(version);
    return ring === undefined ? [] : [judgeVersion(ring)];
  });
  const worst = verdicts.toSorted((a, b) => severity.indexOf(a.kind) - severity.indexOf(b.kind))[0] ?? alone;
  if (!isBad(worst.kind) && isBad(alone.kind) && failsMoreThan(executions, worst)) {
    return {
      shouldRollback: false,
      reason: `${alone.summary} Its version does not: ${worst.summary} It is agent ${agentId}, not version ${version}.`,
      verdict: alone,
    };
  }
  return { shouldRollback: isBad(worst.kind), reason: worst.summary, verdict: worst };
}

function agentVerdict({ namespace, agentId, name, version }: Subject, judgement: Judgement): PlainVerdict {
  const { kind, evidence } = judgement;
  return {
    namespace,
    agentId,
    name,
    version,
    capability: "",
    kind,
    evidence,
    summary: `Agent ${agentId} ${judgement.because}.`,
  };
}

function failsMoreThan(executions: Executions, { evidence }: PlainVerdict): boolean {
  return failureShare(executions) >= 2 * (evidence.failureShare ?? 0);
}
