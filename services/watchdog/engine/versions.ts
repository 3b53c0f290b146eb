import type { Clock } from "#libs/clock/clock.ts";
import type { RegistryMethods } from "./registry-client.ts";
import type { RolloutPolicy, Version } from "#libs/proto/legion/registry/v1/version_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";

/** What the Registry says of a name. */
export interface NameVersions {
  readonly versions: ReadonlyMap<string, Version>;
  /** Undefined: the default one. */
  readonly policy: RolloutPolicy | undefined;
}

export interface Named {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
}

const freshMs = 1_000;
const timeoutMs = 2_000;
/** As many as the Registry lists at once. */
const mostListed = 1_000;

/** The versions of the names that execute something, as the Registry knows them, at most a second old while it answers. */
export class Versions {
  readonly #registry: RegistryMethods;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #names = new Map<string, NameVersions>();
  /** When a namespace, or a version that is not known, was asked for the last time. */
  readonly #askedMs = new Map<string, number>();
  #reachable = true;

  constructor(registry: RegistryMethods, clock: Clock, log: Logger) {
    this.#registry = registry;
    this.#clock = clock;
    this.#log = log;
  }

  find({ namespace, name }: Pick<Named, "namespace" | "name">): NameVersions | undefined {
    return this.#names.get(keyOf(namespace, name));
  }

  /** All that is known, with the names. */
  all(): Iterable<[string, NameVersions]> {
    return this.#names;
  }

  /** Asks the Registry about what is not known, or not of late. What it cannot be asked stays as it was known last. */
  async refresh(wanted: Iterable<Named>): Promise<void> {
    const namespaces = Map.groupBy(wanted, ({ namespace }) => namespace);
    for (const [namespace, names] of namespaces) {
      // What executes has said hello before, so one that is not known is asked for at once; and if the Registry does not know it
      // either, once a second.
      const isMissing = (one: Named) => !(this.find(one)?.versions.has(one.version) ?? false);
      const missing = names.filter(isMissing).map((one) => keyOf(namespace, one.name, one.version));
      if (!this.#isStale(namespace) && !missing.some((key) => this.#isStale(key))) continue;
      for (const key of missing) this.#asked(key);
      this.#asked(namespace);
      if ((await this.#ask(namespace, "")) < mostListed) continue;
      for (const name of new Set(names.map((one) => one.name))) await this.#ask(namespace, name);
    }
  }

  /** Forgets how old its knowledge of a namespace is: something was changed. */
  expire(namespace: string): void {
    this.#askedMs.delete(namespace);
  }

  #isStale(key: string): boolean {
    return this.#clock.monotonic() - (this.#askedMs.get(key) ?? -Infinity) >= freshMs;
  }

  #asked(key: string): void {
    if (this.#askedMs.size > 100_000) this.#askedMs.clear();
    this.#askedMs.set(key, this.#clock.monotonic());
  }

  async #ask(namespace: string, name: string): Promise<number> {
    try {
      const { versions, policies } = await this.#registry.listVersions({ namespace, name }, { timeoutMs });
      const byName = new Map(policies.map((policy) => [policy.name, policy]));
      for (const [each, of] of Map.groupBy(versions, (version) => version.name)) {
        const known = new Map(of.map((version) => [version.version, version]));
        this.#names.set(keyOf(namespace, each), { versions: known, policy: byName.get(each) });
      }
      if (!this.#reachable) this.#log.info("the Registry answers again");
      this.#reachable = true;
      return versions.length;
    } catch (err) {
      if (this.#reachable) this.#log.warn("the Registry does not answer: nothing is rolled out or back", { err });
      this.#reachable = false;
      return 0;
    }
  }
}

const keyOf = (...names: string[]): string => names.join("\n");
