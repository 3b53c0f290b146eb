import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";

export function durationFromUs(us: bigint): Duration {
  return create(DurationSchema, { seconds: us / 1_000_000n, nanos: Number(us % 1_000_000n) * 1_000 });
}

/** Whole microseconds; what is left is dropped. */
export function usOf({ seconds, nanos }: Duration): bigint {
  return seconds * 1_000_000n + BigInt(Math.trunc(nanos / 1_000));
}
