import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { keyOf } from "../core/rings.ts";
import type { Sample, Subject } from "../core/sample.ts";
import { type Observation, type TrialVerdict, VersionTrial } from "../core/trial.ts";

interface AgentTrial {
  readonly trial: VersionTrial;
  /** The last execution of another agent that it was compared with. */
  partner: number;
}

/** The newest executions of two agents of a version. */
interface Peers {
  readonly newest: { readonly agentId: string; readonly at: number; readonly observation: Observation };
  readonly other: Peers["newest"] | undefined;
}

/** Of a slower one: it may have the older machine. */
const ejectingRatio = 2;
/** About 10 KB each. */
const mostTrials = 2_000;

/**
 * Finds agents that are worse than the other agents of their version: each execution is compared with the newest of another
 * agent, so the cost does not depend on how many there are. In memory alone: after a restart it begins anew.
 */
export class AgentTrials {
  readonly #trials = new Map<string, AgentTrial>();
  readonly #peers = new Map<string, Peers>();
  readonly #bad = new Map<string, { readonly subject: Subject; readonly verdict: TrialVerdict }>();
  #at = 0;

  observe(subject: Subject, { durationMs, endTimeMs, failed }: Sample): void {
    const { namespace, name, version, capability, agentId } = subject;
    // Memory is a matter of the version: without figures nothing is said about it.
    const observation = { agentId, durationMs, endTimeMs, failed, memoryAfterBytes: 0, heapAfterCollectionBytes: 0 };
    const group = keyOf(namespace, name, version, capability);
    const before = this.#peers.get(group);
    const mine = { agentId, at: ++this.#at, observation };
    const other = before === undefined || before.newest.agentId !== agentId ? before?.newest : before.other;
    if (this.#peers.size > mostTrials) this.#peers.clear();
    this.#peers.set(group, { newest: mine, other });
    if (other === undefined) return;

    const key = keyOf(group, agentId);
    let agent = this.#trials.get(key);
    this.#trials.delete(key);
    agent ??= { trial: new VersionTrial({ controlVersion: version }), partner: 0 };
    this.#trials.set(key, agent);
    if (this.#trials.size > mostTrials) this.#trials.delete(this.#trials.keys().next().value!);
    if (other.at <= agent.partner) return;
    agent.partner = other.at;
    agent.trial.observe("control", other.observation);
    agent.trial.observe("canary", observation);
    if (!agent.trial.isBad) return;
    this.#trials.delete(key);
    const verdict = agent.trial.verdict();
    if (isWorthIt(verdict)) this.#bad.set(keyOf(namespace, agentId), { subject, verdict });
  }

  /** Those found bad since this was last asked. */
  takeBad(): { readonly subject: Subject; readonly verdict: TrialVerdict }[] {
    const bad = [...this.#bad.values()];
    this.#bad.clear();
    return bad;
  }

  /** Nothing is held against an agent any more. */
  forget({ namespace, name, version, capability, agentId }: Subject): void {
    this.#trials.delete(keyOf(keyOf(namespace, name, version, capability), agentId));
  }
}

function isWorthIt({ kind, evidence }: TrialVerdict): boolean {
  return kind === VerdictKind.FAILING || (evidence.durationRatio ?? 0) >= ejectingRatio;
}
