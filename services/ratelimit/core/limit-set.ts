import type { Acquisition } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { KeyValues } from "./bucket-key.ts";
import type { Rule } from "./rule.ts";

export interface StoredLimit {
  readonly limitId: bigint;
  /** Undefined: a concurrency limit, which is not counted here. */
  readonly rule: Rule | undefined;
  readonly limit: Limit;
}

export interface CountedLimit extends StoredLimit {
  readonly rule: Rule;
}

export const isCounted = <T extends StoredLimit>(limit: T): limit is T & CountedLimit => limit.rule !== undefined;

interface CompiledLimit extends StoredLimit {
  readonly users: ReadonlySet<string> | undefined;
  readonly labels: readonly (readonly [string, string])[];
}

interface Tenant {
  readonly byName: Map<string, CompiledLimit>;
  /** Those that name capabilities, by each of them, so that a thousand such limits cost a task only its own. */
  readonly byCapability: Map<string, (CompiledLimit & CountedLimit)[]>;
  readonly anyCapability: (CompiledLimit & CountedLimit)[];
}

/** All limits at one revision, arranged for finding those that apply. */
export class LimitSet {
  readonly revision: bigint;
  readonly size: number;
  readonly #tenants = new Map<string, Tenant>();

  constructor(revision: bigint, limits: readonly StoredLimit[]) {
    this.revision = revision;
    this.size = limits.length;
    for (const stored of limits) this.#add(stored);
  }

  find(namespace: string, name: string): StoredLimit | undefined {
    return this.#tenants.get(namespace)?.byName.get(name);
  }

  /** The counted limits whose selector holds; with `names`, those of them alone, whatever their selectors say. */
  applying(namespace: string, values: KeyValues, names: readonly string[]): CountedLimit[] {
    const tenant = this.#tenants.get(namespace);
    if (tenant === undefined) return [];
    if (names.length > 0) {
      return [...new Set(names)].flatMap((name) => tenant.byName.get(name) ?? []).filter(isCounted);
    }
    const own = tenant.byCapability.get(values.capability) ?? [];
    return [...tenant.anyCapability, ...own].filter((limit) => holds(limit, values));
  }

  #add(stored: StoredLimit): void {
    const { namespace, name, selector } = stored.limit;
    let tenant = this.#tenants.get(namespace);
    if (tenant === undefined) {
      this.#tenants.set(namespace, (tenant = { byName: new Map(), byCapability: new Map(), anyCapability: [] }));
    }
    const users = selector?.users ?? [];
    const compiled: CompiledLimit = {
      ...stored,
      users: users.length === 0 ? undefined : new Set(users),
      labels: [...new Map(selector?.labels.map(({ key, value }) => [key, value] as const))],
    };
    tenant.byName.set(name, compiled);
    if (!isCounted(compiled)) return;
    const capabilities = new Set(selector?.capabilities);
    if (capabilities.size === 0) tenant.anyCapability.push(compiled);
    for (const capability of capabilities) {
      const others = tenant.byCapability.get(capability);
      if (others === undefined) tenant.byCapability.set(capability, [compiled]);
      else others.push(compiled);
    }
  }
}

function holds({ users, labels }: CompiledLimit, values: KeyValues): boolean {
  if (users !== undefined && !users.has(values.user)) return false;
  return labels.every(([key, value]) => values.labels.get(key) === value);
}

const noLabels: ReadonlyMap<string, string> = new Map();

/** What an acquisition's buckets are named by. Of two labels with one key the last counts. */
export function keyValues({ capability, user, labels }: Acquisition): KeyValues {
  const byKey = labels.length === 0 ? noLabels : new Map(labels.map(({ key, value }) => [key, value] as const));
  return { capability, user, labels: byKey };
}
