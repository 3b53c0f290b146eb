import { durationMs, type Duration } from "@bufbuild/protobuf/wkt";
import { type Limit, type LimitState, WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { table } from "./table.ts";
import { agoText, clockText, lengthText } from "./time-text.ts";

/** What it allows: `100 in 1 min, 20 at once`. */
export function kindText({ kind, unit }: Limit): string {
  const counted = unit === "" ? "" : ` ${unit}`;
  switch (kind.case) {
    case "tokenBucket": {
      const { tokens, period, burst } = kind.value;
      return `${grouped(tokens)}${counted} in ${exactLength(period)}, ${grouped(burst || tokens)} at once`;
    }
    case "slidingWindow":
      return `${grouped(kind.value.count)}${counted} in any ${exactLength(kind.value.window)}`;
    case "concurrency":
      return `${grouped(kind.value.max)} at a time`;
    case undefined:
      return "a kind this program does not know";
    default:
      throw kind satisfies never;
  }
}

/** What there is a bucket for each of: `user, label tier`. Empty: one for all. */
export function perText({ per }: Limit): string {
  return per.map(({ kind }) => (kind.case === "label" ? `label ${kind.value}` : (kind.case ?? "?"))).join(", ");
}

/** What it applies to: `capability greet or sing; label tier=free`. */
export function selectorText({ selector }: Limit): string {
  if (selector === undefined) return "all tasks";
  const { capabilities, users, labels } = selector;
  const parts = [
    capabilities.length > 0 && `capability ${capabilities.join(" or ")}`,
    users.length > 0 && `user ${users.join(" or ")}`,
    ...labels.map(({ key, value }) => `label ${key}=${value}`),
  ];
  return parts.filter(Boolean).join("; ") || "all tasks";
}

export function unreachableText({ whenUnreachable, safeRatePerSecond }: Limit): string {
  if (whenUnreachable === WhenUnreachable.FAIL_OPEN) return "fail-open";
  if (whenUnreachable === WhenUnreachable.SAFE_CAPACITY) return `safe=${safeRatePerSecond}/s`;
  return "fail-closed";
}

export function limitTable(limits: readonly Limit[], width: number | undefined): string[] {
  const columns = ["LIMIT", "ALLOWS", "FOR EACH", "NAMESPACE", "UNREACHABLE"].map((title) => ({ title }));
  return table(
    [...columns, { title: "APPLIES TO", flexible: true }],
    limits.map((limit) => [
      limit.name,
      kindText(limit),
      perText(limit) || "-",
      limit.namespace,
      unreachableText(limit),
      selectorText(limit),
    ]),
    width,
  );
}

export function stateTable(states: readonly LimitState[], nowMs: number, width: number | undefined): string[] {
  return table(
    [
      { title: "KEY" },
      { title: "REMAINING", align: "right" },
      { title: "RESETS" },
      { title: "PAUSED" },
      { title: "LEASED", align: "right" },
      { title: "LEASED TO", flexible: true },
    ],
    states.map(({ key, remaining, resetDelay, pauseUntil, leased, holders }) => [
      key || "-",
      grouped(remaining),
      resetText(resetDelay),
      pauseUntil === undefined ? "no" : `until ${clockText(pauseUntil)} (${agoText(pauseUntil, nowMs)})`,
      grouped(leased),
      holders
        .map((one) => `${one.holderId}: ${grouped(one.leased)} for ${lengthText(millis(one.expireDelay))}`)
        .join(", ") || "-",
    ]),
    width,
  );
}

function resetText(delay: Duration | undefined): string {
  const ms = millis(delay);
  return ms === 0 ? "is full" : `in ${lengthText(ms)}`;
}

/** In the largest unit that says it without a remainder: `1 min`, `90 s`. */
function exactLength(length: Duration | undefined): string {
  const ms = millis(length);
  for (const unitMs of [86_400_000, 3_600_000, 60_000, 1_000])
    if (ms > 0 && ms % unitMs === 0) return unitText(ms, unitMs);
  return `${ms} ms`;
}

function unitText(ms: number, unitMs: number): string {
  const names: Readonly<Record<number, string>> = { 86_400_000: "d", 3_600_000: "h", 60_000: "min", 1_000: "s" };
  return `${ms / unitMs} ${names[unitMs]}`;
}

function millis(length: Duration | undefined): number {
  return length === undefined ? 0 : durationMs(length);
}

function grouped(value: bigint): string {
  return value.toLocaleString("en");
}
