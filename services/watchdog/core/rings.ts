import type { Sample, Subject } from "./sample.ts";
import { SampleRing } from "./sample-ring.ts";

export interface AgentRing {
  readonly ring: SampleRing;
  /** Whom its last sample was of. */
  subject: Subject;
  touched: number;
}

export interface VersionRing {
  readonly ring: SampleRing;
  readonly version: string;
  readonly group: VersionGroup;
  /** The lowest id of its subjects: ids grow, so they tell which version was seen first. */
  firstSeen: number;
  touched: number;
}

/** The versions of one name that execute one capability. */
export interface VersionGroup {
  readonly namespace: string;
  readonly name: string;
  readonly capability: string;
  readonly versions: Map<string, VersionRing>;
}

export interface RingLimits {
  readonly maxAgents: number;
  readonly maxVersions: number;
}

/**
 * The ring buffers of a Watchdog, in memory: for each agent, and for each name, version and capability. Beyond the limits
 * those that were touched longest ago are forgotten, a tenth at a time. Agents without a name have no version ring.
 */
export class Rings {
  readonly #limits: RingLimits;
  readonly #agents = new Map<string, AgentRing>();
  readonly #groups = new Map<string, VersionGroup>();
  #versions = 0;
  #touch = 0;

  constructor(limits: RingLimits) {
    this.#limits = limits;
  }

  get agentCount(): number {
    return this.#agents.size;
  }

  get versionCount(): number {
    return this.#versions;
  }

  get groups(): Iterable<VersionGroup> {
    return this.#groups.values();
  }

  agent(namespace: string, agentId: string): AgentRing | undefined {
    return this.#agents.get(keyOf(namespace, agentId));
  }

  group(namespace: string, name: string, capability: string): VersionGroup | undefined {
    return this.#groups.get(keyOf(namespace, name, capability));
  }

  /** Returns the group whose verdicts may have changed, if the agent has a name. */
  push(subject: Subject, sample: Sample): VersionGroup | undefined {
    this.pushToAgent(subject, sample);
    if (subject.name === "") return undefined;
    const group = this.#groupOf(subject);
    let version = group.versions.get(subject.version);
    if (version === undefined) {
      version = { ring: new SampleRing(), version: subject.version, group, firstSeen: sample.subjectId, touched: 0 };
      group.versions.set(subject.version, version);
      this.#versions++;
    }
    version.firstSeen = Math.min(version.firstSeen, sample.subjectId);
    version.touched = ++this.#touch;
    version.ring.push(sample);
    if (this.#versions > this.#limits.maxVersions) this.#forgetVersions();
    return group;
  }

  /** For what is read again from the table of an agent that was forgotten. */
  pushToAgent(subject: Subject, sample: Sample): void {
    const key = keyOf(subject.namespace, subject.agentId);
    let agent = this.#agents.get(key);
    if (agent === undefined) this.#agents.set(key, (agent = { ring: new SampleRing(), subject, touched: 0 }));
    agent.subject = subject;
    agent.touched = ++this.#touch;
    agent.ring.push(sample);
    if (this.#agents.size > this.#limits.maxAgents) {
      const oldest = [...this.#agents].toSorted(([, a], [, b]) => a.touched - b.touched);
      for (const [old] of oldest.slice(0, Math.ceil(this.#limits.maxAgents / 10))) this.#agents.delete(old);
    }
  }

  #groupOf({ namespace, name, capability }: Subject): VersionGroup {
    const key = keyOf(namespace, name, capability);
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, (group = { namespace, name, capability, versions: new Map() }));
    return group;
  }

  #forgetVersions(): void {
    const all = [...this.#groups.values()].flatMap(({ versions }) => [...versions.values()]);
    const oldest = all.toSorted((a, b) => a.touched - b.touched).slice(0, Math.ceil(this.#limits.maxVersions / 10));
    for (const { group, version } of oldest) {
      group.versions.delete(version);
      if (group.versions.size === 0) this.#groups.delete(keyOf(group.namespace, group.name, group.capability));
    }
    this.#versions -= oldest.length;
  }
}

/** No name contains the character 0: Postgres would not take it. */
export const keyOf = (...names: string[]): string => names.join("\0");
