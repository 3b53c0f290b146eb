import type { RegistryMethods } from "./registry-client.ts";
import { RolloutKind, type Version, VersionStage } from "#libs/proto/legion/registry/v1/version_pb.ts";
import { errorReason, isUnavailable } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Trials } from "./trials.ts";
import type { NameVersions, Versions } from "./versions.ts";

export interface PromotingOptions {
  readonly registry: RegistryMethods;
  readonly versions: Versions;
  readonly trials: Trials;
  readonly stageExecutions: number;
  readonly log: Logger;
  readonly onAdvanced: () => void;
}

const defaultStages = [10, 50];
const timeoutMs = 5_000;

/**
 * Brings canaries on: the n-th stage is passed when n times as many executions as a stage needs were compared without a
 * verdict, over all capabilities and since the trial began. What has been passed is in the trials, so nothing else is kept.
 */
export class Promoting {
  readonly #options: PromotingOptions;

  constructor(options: PromotingOptions) {
    this.#options = options;
  }

  async tick(): Promise<void> {
    const { versions } = this.#options;
    for (const [, known] of versions.all()) {
      for (const version of known.versions.values()) {
        if (version.stage === VersionStage.CANARY) await this.#advance(version, known);
      }
    }
  }

  async #advance(canary: Version, { policy }: NameVersions): Promise<void> {
    const { registry, versions, trials, log, onAdvanced } = this.#options;
    const { namespace, name, version, trial, weight, revision } = canary;
    if (policy?.kind === RolloutKind.MANUAL) return;
    const all = trials.ofVersion(namespace, name, version, trial);
    if (all.length === 0 || all.some((one) => one.trial.isBad)) return;
    const passed = all.reduce((sum, one) => sum + one.trial.verdict().passed, 0);
    const stages = policy !== undefined && policy.stages.length > 0 ? policy.stages : defaultStages;
    const nth = stages.filter((stage) => stage <= weight).length;
    const needed = Math.max(1, nth) * (policy?.stageExecutions || this.#options.stageExecutions);
    if (passed < needed) return;
    try {
      const reason = `Nothing was found against it in ${passed} executions.`;
      await registry.advanceVersion({ namespace, name, version, revision, reason }, { timeoutMs });
      onAdvanced();
    } catch (err) {
      if (errorReason(err) !== "VERSION_CHANGED" && !isUnavailable(err))
        log.error("a version was not advanced", { err });
    } finally {
      versions.expire(namespace);
    }
    await versions.refresh([canary]);
  }
}
