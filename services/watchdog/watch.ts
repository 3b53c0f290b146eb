import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { keyOf, type Rings, type VersionGroup, type VersionRing } from "./core/rings.ts";
import type { Sample, Subject } from "./core/sample.ts";
import { isBad, judgeVersion } from "./core/verdicts.ts";
import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import { closeIncident, type DatedVerdict, type Judged, openIncident, readOpenIncidents } from "./sql/incidents.ts";

interface Standing {
  readonly kind: VerdictKind;
  readonly sinceMs: number;
}

const groupsPerRound = 200;

/**
 * Judges what has new executions, and records as an incident that a verdict became bad, until it is healthy again. An
 * undecided verdict ends no incident, and another kind of bad one begins none.
 */
export class Watch {
  readonly #rings: Rings;
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #onIncident: (kind: "opened" | "closed") => void;
  readonly #changed = new Set<VersionGroup>();
  readonly #standing = new WeakMap<VersionRing, Standing>();
  readonly #open = new Set<string>();

  constructor(rings: Rings, pool: ConnectionPool, clock: Clock, onIncident: (kind: "opened" | "closed") => void) {
    this.#rings = rings;
    this.#pool = pool;
    this.#clock = clock;
    this.#onIncident = onIncident;
  }

  get openIncidents(): number {
    return this.#open.size;
  }

  /** Learns which incidents are open, before the first round. */
  async load(): Promise<void> {
    for (const incident of await readOpenIncidents(this.#pool)) this.#open.add(incidentKey(incident));
  }

  push(subject: Subject, sample: Sample): void {
    const group = this.#rings.push(subject, sample);
    if (group !== undefined) this.#changed.add(group);
  }

  /** One round: judges up to 200 changed groups and records what changed. What fails is taken up again in the next. */
  async tick(signal?: AbortSignal): Promise<void> {
    const groups = [...this.#changed].slice(0, groupsPerRound);
    for (const group of groups) {
      if (signal?.aborted) return;
      // A group takes about 0.5 ms: the calls that wait get their turn in between.
      await new Promise(setImmediate);
      this.#changed.delete(group);
      try {
        for (const verdict of this.#judge(group)) await this.#record(verdict);
      } catch (error) {
        this.#changed.add(group);
        throw error;
      }
    }
  }

  /** The standing verdicts of a namespace; an empty name means all. Up to date with every execution that was stored. */
  verdicts(namespace: string, name: string, limit: number): DatedVerdict[] {
    const groups = [...this.#rings.groups].filter(
      (group) => group.namespace === namespace && (name === "" || group.name === name),
    );
    const byNames = groups
      .flatMap((group) => [...group.versions.values()])
      .toSorted(
        (a, b) =>
          compare(a.group.name, b.group.name) ||
          compare(a.version, b.version) ||
          compare(a.group.capability, b.group.capability),
      );
    return byNames.slice(0, limit).map((ring) => this.#stand(ring));
  }

  #judge(group: VersionGroup): DatedVerdict[] {
    return [...group.versions.values()].map((ring) => this.#stand(ring));
  }

  #stand(ring: VersionRing): DatedVerdict {
    const verdict = judgeVersion(ring);
    const before = this.#standing.get(ring);
    const sinceMs = before !== undefined && before.kind === verdict.kind ? before.sinceMs : this.#clock.now();
    const dated = { ...verdict, verdictTime: timestampFromMs(sinceMs) };
    this.#standing.set(ring, { kind: verdict.kind, sinceMs });
    return dated;
  }

  async #record(verdict: DatedVerdict): Promise<void> {
    const key = incidentKey(verdict);
    if (isBad(verdict.kind) && !this.#open.has(key)) {
      await openIncident(this.#pool, verdict);
      this.#open.add(key);
      this.#onIncident("opened");
    } else if (verdict.kind === VerdictKind.HEALTHY && this.#open.has(key)) {
      await closeIncident(this.#pool, verdict);
      this.#open.delete(key);
      this.#onIncident("closed");
    }
  }
}

function incidentKey({ namespace, name, version, capability }: Judged): string {
  return keyOf(namespace, name, version, capability);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
