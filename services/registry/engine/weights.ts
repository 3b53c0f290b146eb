export interface VersionKey {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
}

export interface KnownWeight {
  readonly weight: number;
  readonly weightEpoch: bigint;
}

/**
 * The weights that were ever changed, as far as this Registry has heard. A hello's statement and a poll may overtake each
 * other; the one with the higher epoch is the newer.
 */
export class Weights {
  readonly #known = new Map<string, KnownWeight>();
  /** The highest epoch that a poll has brought: all below it are known. */
  polledEpoch = 0n;

  polledThrough(epoch: bigint): void {
    if (epoch > this.polledEpoch) this.polledEpoch = epoch;
  }

  /** @returns the weight that holds. */
  learn(key: VersionKey, heard: KnownWeight): number {
    const id = idOf(key);
    const known = this.#known.get(id);
    if (known !== undefined && known.weightEpoch >= heard.weightEpoch) return known.weight;
    if (heard.weightEpoch > 0n) this.#known.set(id, { weight: heard.weight, weightEpoch: heard.weightEpoch });
    return heard.weight;
  }
}

// None of the three can contain a control character.
const idOf = ({ namespace, name, version }: VersionKey): string => [namespace, name, version].join("\n");
