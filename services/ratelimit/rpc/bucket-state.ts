import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type LeaseHolder,
  LeaseHolderSchema,
  type LimitState,
  LimitStateSchema,
} from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { type Bucket, leasedFrom } from "../core/bucket.ts";
import { remaining, resetUs, type Rule } from "../core/rule.ts";
import { durationFromUs } from "./durations.ts";

/** What a bucket whose expired leases are ended holds. Of a concurrency limit, without a rule, only its pause is told. */
export function bucketState(
  name: string,
  key: string,
  rule: Rule | undefined,
  bucket: Bucket,
  nowUs: bigint,
): LimitState {
  const state = create(LimitStateSchema, { name, key });
  if (bucket.pauseUntilUs > nowUs) state.pauseUntil = timestampFromMs(Number(bucket.pauseUntilUs / 1_000n));
  if (rule === undefined) return state;
  state.remaining = remaining(bucket, rule, nowUs);
  state.resetDelay = durationFromUs(resetUs(bucket, rule, nowUs));
  state.leased = leasedFrom(bucket);
  return state;
}

export function holdersOf({ leases }: Bucket, nowUs: bigint): LeaseHolder[] {
  const byHolder = Map.groupBy(leases, ({ holderId }) => holderId);
  return [...byHolder].map(([holderId, own]) =>
    create(LeaseHolderSchema, {
      holderId,
      leased: own.reduce((sum, { granted }) => sum + granted, 0n),
      expireDelay: durationFromUs(own.at(-1)!.endUs - nowUs),
    }),
  );
}
