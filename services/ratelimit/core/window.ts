import { type Bucket, larger, leasedFrom, type LogEntry, timeOf } from "./bucket.ts";

/**
 * At most `count` in every window of a length. Each admission is logged at the end of its slot and counts until a whole window
 * after that, so the count is never too low, wherever a window begins. With slots of 1 µs this is an exact log; with larger ones
 * an admission counts up to one slot too long.
 */
export interface WindowRule {
  readonly kind: "window";
  readonly windowUs: bigint;
  readonly slotUs: bigint;
  readonly count: bigint;
}

/**
 * The most entries that a log needs, about: up to this count every admission has its own, above it a window has so many slots. Two
 * arrays of 100 numbers are 1.6 kB, and a row stays below the 2 kB from which Postgres moves values out of it.
 */
export const maxEntries = 100n;

export function windowRule(count: bigint, windowNs: bigint): WindowRule {
  const windowUs = (windowNs + 999n) / 1_000n;
  const slotUs = count <= maxEntries ? 1n : (windowUs + maxEntries - 1n) / maxEntries;
  return { kind: "window", windowUs, slotUs, count };
}

export function slotEnd({ slotUs }: WindowRule, atUs: bigint): bigint {
  return slotUs === 1n ? atUs : ((atUs + slotUs - 1n) / slotUs) * slotUs;
}

/** What counts at `nowUs`: what was admitted within the window, and what is leased. */
export function usedAt(bucket: Bucket, { windowUs }: WindowRule, nowUs: bigint): bigint {
  const afterUs = timeOf(bucket, nowUs) - windowUs;
  let used = leasedFrom(bucket);
  for (const { atUs, cost } of bucket.log) if (atUs > afterUs) used += cost;
  return used;
}

/** Microseconds until no more than `atMost` count, if nobody else comes and every lease is kept to its end and used then. */
export function timeUntilUsed(bucket: Bucket, rule: WindowRule, atMost: bigint, nowUs: bigint): bigint {
  let tooMany = usedAt(bucket, rule, nowUs) - atMost;
  if (tooMany <= 0n) return 0n;
  const afterUs = timeOf(bucket, nowUs) - rule.windowUs;
  const leased = bucket.leases.map(({ granted, endUs }) => ({
    atUs: slotEnd(rule, larger(endUs, bucket.atUs)),
    cost: granted,
  }));
  const counted = [...bucket.log.filter(({ atUs }) => atUs > afterUs), ...leased].toSorted(byTime);
  for (const { atUs, cost } of counted) {
    tooMany -= cost;
    if (tooMany <= 0n) return atUs + rule.windowUs - nowUs;
  }
  throw new Error("unreachable: more left the window than was in it");
}

/** The bucket with one more entry, and without those that count no more. */
export function withEntry(bucket: Bucket, rule: WindowRule, { atUs, cost }: LogEntry, nowUs: bigint): Bucket {
  const timeUs = timeOf(bucket, nowUs);
  const log = bucket.log.filter((entry) => entry.atUs > timeUs - rule.windowUs);
  const same = log.findIndex((entry) => entry.atUs === atUs);
  if (same >= 0) log[same] = { atUs, cost: log[same]!.cost + cost };
  else if (cost > 0n && atUs > timeUs - rule.windowUs) log.push({ atUs, cost });
  return { ...bucket, atUs: timeUs, log: log.toSorted(byTime) };
}

/** The bucket without up to `cost` of what is logged at `markUs`: nothing if that has left the window. */
export function withoutCost(bucket: Bucket, rule: WindowRule, cost: bigint, markUs: bigint, nowUs: bigint): Bucket {
  const timeUs = timeOf(bucket, nowUs);
  const log = bucket.log
    .filter(({ atUs }) => atUs > timeUs - rule.windowUs)
    .map((entry) => (entry.atUs === markUs ? { ...entry, cost: larger(0n, entry.cost - cost) } : entry));
  return { ...bucket, atUs: timeUs, log: log.filter((entry) => entry.cost > 0n) };
}

const byTime = (a: LogEntry, b: LogEntry): number => (a.atUs < b.atUs ? -1 : a.atUs > b.atUs ? 1 : 0);
