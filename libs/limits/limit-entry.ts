import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Limit, WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { Bucket } from "./bucket.ts";
import { type KeyValues, labelOf } from "./bucket-key.ts";

/** Buckets that were not asked for in so long are forgotten. */
const forgetAfterMs = 10_000;

/** A limit, with those of its buckets that were asked for lately. */
export class LimitEntry {
  readonly limit: Limit;
  readonly namespace: string;
  readonly name: string;
  /** The revision in which it was seen first. */
  readonly revision: bigint;
  /** Whether it is counted here, in tokens. */
  readonly isRate: boolean;
  /** The most that it ever admits at once. */
  readonly capacity: number;
  /** Of a sliding window; 0 for a token bucket. */
  readonly windowMs: number;
  readonly whenUnreachable: WhenUnreachable;
  /** It was replaced or deleted: what is leased of it is not to be used any more. */
  isGone = false;
  /** No limit has its name any more. */
  isDeleted = false;
  readonly #users: ReadonlySet<string> | undefined;
  readonly #labels: readonly (readonly [string, string])[];
  /** Until when keys are paused, by the holder's clock. */
  #pauses: ReadonlyMap<string, number> = new Map();
  #young = new Map<string, Bucket>();
  #old = new Map<string, Bucket>();
  #turnedMs = -Infinity;

  constructor(limit: Limit, revision: bigint) {
    const { kind, selector } = limit;
    this.limit = limit;
    this.namespace = limit.namespace;
    this.name = limit.name;
    this.revision = revision;
    this.isRate = kind.case === "tokenBucket" || kind.case === "slidingWindow";
    this.capacity = capacityOf(limit);
    this.windowMs = kind.case === "slidingWindow" && kind.value.window ? durationMs(kind.value.window) : 0;
    this.whenUnreachable = limit.whenUnreachable || WhenUnreachable.FAIL_CLOSED;
    this.#users = selector === undefined || selector.users.length === 0 ? undefined : new Set(selector.users);
    this.#labels = [...new Map(selector?.labels.map(({ key, value }) => [key, value] as const))];
  }

  /** Whether its selector holds, leaving capabilities aside. */
  holds({ user, labels }: KeyValues): boolean {
    if (this.#users !== undefined && !this.#users.has(user)) return false;
    return this.#labels.every(([key, value]) => labelOf(labels, key) === value);
  }

  bucket(key: string, nowMs: number): Bucket {
    if (nowMs - this.#turnedMs > forgetAfterMs) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#turnedMs = nowMs;
    }
    let bucket = this.#young.get(key);
    if (bucket !== undefined) return bucket;
    bucket = this.#old.get(key) ?? new Bucket(this, key, this.#pauses.get(key));
    this.#young.set(key, bucket);
    return bucket;
  }

  /** All of its pauses: until when, by key. */
  setPauses(pauses: ReadonlyMap<string, number>): void {
    for (const key of this.#pauses.keys()) if (!pauses.has(key)) this.#pause(key, -Infinity);
    for (const [key, untilMs] of pauses) this.#pause(key, untilMs);
    this.#pauses = pauses;
  }

  #pause(key: string, untilMs: number): void {
    const bucket = this.#young.get(key) ?? this.#old.get(key);
    if (bucket !== undefined) bucket.pausedUntilMs = untilMs;
  }
}

function capacityOf({ kind }: Limit): number {
  if (kind.case === "tokenBucket") return Number(kind.value.burst || kind.value.tokens);
  return kind.case === "slidingWindow" ? Number(kind.value.count) : 0;
}
