import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { unlessAway } from "#libs/db/unless-away.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Counter } from "#libs/telemetry/metrics.ts";
import { type EndSpan, startRolloutSpan } from "./rollout-spans.ts";
import { admit, advance, bar, type Bar, promote, type Refusal, setWeight, withWeights } from "../core/rollout.ts";
import type { VersionState } from "../core/rollout.ts";
import { changeVersions, type NameState } from "../sql/change-versions.ts";
import { drainVersion, weighBarred } from "../sql/drain-version.ts";
import { forgetEjections } from "../sql/eject-agent.ts";
import { versionsSideBySide } from "../sql/find-unsettled.ts";
import type { VersionKey } from "./weights.ts";

export type RolloutStep = "admitted" | "advanced" | "promoted" | "weighed" | "barred" | "settled";

export interface RolloutsOptions {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly steps: Counter<"step">;
  /** Tells all Registries that weights have changed. */
  readonly changed: () => void;
  /** Tells one that sessions of its are to drain. */
  readonly drain: (registryId: string) => void;
}

// Also the longest that work waits when the last session of the current version goes and an older one stands by.
const settleEveryMs = 1_000;

/** Decides about the versions of a name: every decision is one transaction, and the same on all replicas. */
export class Rollouts {
  readonly settling: Ticker;
  readonly #options: RolloutsOptions;

  constructor(options: RolloutsOptions) {
    this.#options = options;
    const { clock, log } = options;
    const tick = () => unlessAway(() => this.#settle());
    this.settling = new Ticker({ name: "settling weights", everyMs: settleEveryMs, tick, clock, log });
  }

  /** A version's first hello. @returns its weight. */
  async admit(key: VersionKey): Promise<number> {
    const decide = ({ versions, policy, nowMs }: NameState) =>
      versions.some(({ version, stage }) => version === key.version && stage === "new")
        ? admit(versions, key.version, policy, nowMs)
        : [...versions];
    const answer = await this.#decide("admitted", key, decide);
    const admitted = Array.isArray(answer) ? answer.find(({ version }) => version === key.version) : undefined;
    return admitted?.weight ?? 100;
  }

  async advance(key: VersionKey, revision: bigint, reason: string): Promise<Refusal | undefined> {
    return refusalOf(
      await this.#decide("advanced", key, ({ versions, policy, nowMs }) =>
        advance(versions, key.version, { revision, reason, policy, nowMs }),
      ),
    );
  }

  async promote(key: VersionKey): Promise<Refusal | undefined> {
    return refusalOf(
      await this.#decide("promoted", key, ({ versions, nowMs }) => promote(versions, key.version, nowMs)),
    );
  }

  async setWeight(key: VersionKey, weight: number): Promise<Refusal | undefined> {
    return refusalOf(await this.#decide("weighed", key, ({ versions }) => setWeight(versions, key.version, weight)));
  }

  /** @returns how many of its sessions are still to be told to drain. */
  async bar(key: VersionKey, how: Bar, maxShare: number): Promise<Refusal | number> {
    const { namespace, name, version } = key;
    let remaining = 0;
    let registryIds: readonly string[] = [];
    const answer = await this.#decide(
      "barred",
      key,
      ({ versions, nowMs }) => bar(versions, version, how, nowMs),
      async (session) => {
        const drain = { namespace, name, version, reason: how.reason, maxShare };
        ({ remaining, registryIds } = await drainVersion(session, drain));
        await weighBarred(session, drain, remaining > 0 ? 1 : 0);
      },
    );
    const refusal = refusalOf(answer);
    if (refusal !== undefined) return refusal;
    // The weights first: what is given back is not to come again.
    this.#options.changed();
    for (const registryId of registryIds) this.#options.drain(registryId);
    return remaining;
  }

  async #decide(
    step: RolloutStep,
    { namespace, name, version }: VersionKey,
    decide: (state: NameState) => VersionState[] | Refusal,
    also?: Parameters<typeof changeVersions>[4],
  ): Promise<VersionState[] | Refusal> {
    const { pool, log, steps, changed } = this.#options;
    const end: EndSpan = startRolloutSpan(step, { namespace, name, version });
    try {
      const outcome = await changeVersions(pool, namespace, name, decide, also);
      end(typeof outcome.answer === "string" ? outcome.answer : undefined);
      if (!outcome.changed) return outcome.answer;
      changed();
      steps.add(1, { step });
      const weights = Array.isArray(outcome.answer) ? outcome.answer.map(describe).join(", ") : "";
      log.info("a version's weight was decided", { step, namespace, name, version, weights });
      return outcome.answer;
    } catch (error) {
      end(String(error));
      throw error;
    }
  }

  /** Weights depend on who has sessions; and a hello may have ended between its row and the decision about its version. */
  async #settle(): Promise<void> {
    const { pool } = this.#options;
    for (const { namespace, name, versions } of await versionsSideBySide(pool)) {
      const undecided = versions.find(({ stage }) => stage === "new");
      if (undecided !== undefined) await this.admit({ namespace, name, version: undecided.version });
      else if (withWeights(versions).some(({ weight }, index) => weight !== versions[index]?.weight)) {
        await this.#decide("settled", { namespace, name, version: "" }, (state) => withWeights(state.versions));
      }
    }
    await forgetEjections(pool);
  }
}

const describe = ({ version, stage, weight }: VersionState): string => `${version}: ${weight} (${stage})`;

const refusalOf = (answer: VersionState[] | Refusal): Refusal | undefined =>
  typeof answer === "string" ? answer : undefined;
