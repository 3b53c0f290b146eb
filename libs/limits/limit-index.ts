import { equals } from "@bufbuild/protobuf";
import type { Cost } from "#libs/proto/legion/common/v1/cost_pb.ts";
import { type Limit, LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { Bucket } from "./bucket.ts";
import { bucketKey, type KeyValues } from "./bucket-key.ts";
import { LimitEntry } from "./limit-entry.ts";

/** What is to be admitted, such as a TaskSpec. */
export interface Subject extends KeyValues {
  /** Never empty. */
  readonly namespace: string;
  readonly costs: readonly Pick<Cost, "unit" | "amount">[];
  /** Only these limits, instead of all that apply. */
  readonly limits?: readonly string[];
}

/** What something takes from one bucket. */
export interface Need {
  readonly bucket: Bucket;
  /** At least 1. */
  readonly cost: number;
}

interface Tenant {
  readonly byName: Map<string, LimitEntry>;
  readonly byCapability: Map<string, LimitEntry[]>;
  readonly anyCapability: LimitEntry[];
}

const none: readonly Need[] = [];

/** All limits at one revision. Those on concurrency are known here, and not counted. */
export class LimitIndex {
  readonly revision: bigint;
  /** As they were read. */
  readonly limits: readonly Limit[];
  readonly #tenants = new Map<string, Tenant>();

  /** Limits that are as they were in `before` keep their buckets; the others of it are marked as gone. */
  constructor(limits: readonly Limit[], revision: bigint, before?: LimitIndex) {
    this.revision = revision;
    this.limits = limits;
    const kept = new Set<LimitEntry>();
    for (const limit of limits) {
      const old = before?.find(limit.namespace, limit.name);
      const entry = old !== undefined && equals(LimitSchema, old.limit, limit) ? old : new LimitEntry(limit, revision);
      kept.add(entry);
      this.#add(entry);
    }
    for (const entry of before?.entries() ?? []) {
      if (kept.has(entry)) continue;
      entry.isGone = true;
      entry.isDeleted = this.find(entry.namespace, entry.name) === undefined;
    }
  }

  find(namespace: string, name: string): LimitEntry | undefined {
    return this.#tenants.get(namespace)?.byName.get(name);
  }

  *entries(): Iterable<LimitEntry> {
    for (const { byName } of this.#tenants.values()) yield* byName.values();
  }

  /** All limits whose selectors hold, of every kind. */
  applying(subject: Omit<Subject, "costs">): Limit[] {
    return [...this.#applying(subject)].map(({ limit }) => limit);
  }

  /**
   * What it takes, and from which buckets. A limit in a unit that it costs nothing of is left out. Undefined when one of
   * `subject.limits` is not known.
   */
  needsOf(subject: Subject, nowMs: number): readonly Need[] | undefined {
    const tenant = this.#tenants.get(subject.namespace);
    const needs: Need[] = [];
    if (subject.limits !== undefined && subject.limits.length > 0) {
      for (const name of new Set(subject.limits)) {
        const entry = tenant?.byName.get(name);
        if (entry === undefined) return undefined;
        addNeed(entry, subject, nowMs, needs);
      }
      return needs;
    }
    if (tenant === undefined) return none;
    for (const entry of this.#applying(subject)) addNeed(entry, subject, nowMs, needs);
    return needs;
  }

  *#applying(subject: Omit<Subject, "costs">): Iterable<LimitEntry> {
    const tenant = this.#tenants.get(subject.namespace);
    if (tenant === undefined) return;
    for (const entry of tenant.anyCapability) if (entry.holds(subject)) yield entry;
    for (const entry of tenant.byCapability.get(subject.capability) ?? []) if (entry.holds(subject)) yield entry;
  }

  #add(entry: LimitEntry): void {
    let tenant = this.#tenants.get(entry.namespace);
    if (tenant === undefined) {
      this.#tenants.set(entry.namespace, (tenant = { byName: new Map(), byCapability: new Map(), anyCapability: [] }));
    }
    tenant.byName.set(entry.name, entry);
    const capabilities = new Set(entry.limit.selector?.capabilities);
    if (capabilities.size === 0) tenant.anyCapability.push(entry);
    for (const capability of capabilities) {
      const others = tenant.byCapability.get(capability);
      if (others === undefined) tenant.byCapability.set(capability, [entry]);
      else others.push(entry);
    }
  }
}

function addNeed(entry: LimitEntry, subject: Subject, nowMs: number, needs: Need[]): void {
  if (!entry.isRate) return;
  const cost = costIn(entry.limit.unit, subject);
  if (cost > 0) needs.push({ bucket: entry.bucket(bucketKey(entry.limit.per, subject), nowMs), cost });
}

function costIn(unit: string, { costs }: Subject): number {
  // Of two costs in one unit the last counts. Without one it costs 1 task, and nothing in other units.
  for (let i = costs.length - 1; i >= 0; i--) if (costs[i]!.unit === unit) return Number(costs[i]!.amount);
  return unit === "" ? 1 : 0;
}
