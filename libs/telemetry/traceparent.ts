import { randomFillSync } from "node:crypto";

// W3C Trace Context: version 00 has exactly these four fields, a later one may carry more behind them; ff is invalid.
const form = /^(?:00|(?!00|ff)[\da-f]{2}(?=.{53}(?:-|$)))-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}/;

/** Whether it can be continued: a version that is known or later, ids that are not zero. */
export function isValidTraceparent(traceparent: string | undefined): traceparent is string {
  if (traceparent === undefined || !form.test(traceparent)) return false;
  return traceparent.length === 55 || !traceparent.startsWith("00");
}

/** The 32 hex digits of its trace id; undefined when it is not valid. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  return isValidTraceparent(traceparent) ? traceparent.slice(3, 35) : undefined;
}

/** The 16 hex digits of its span id; undefined when it is not valid. */
export function spanIdOf(traceparent: string | undefined): string | undefined {
  return isValidTraceparent(traceparent) ? traceparent.slice(36, 52) : undefined;
}

// Filled 256 pairs of ids at a time: a call into crypto costs more than all the rest.
const pairBytes = 24;
const pool = Buffer.allocUnsafe(pairBytes * 256);
let offset = pool.length;

/** A fresh, sampled trace context, for work that arrives without one. */
export function newTraceparent(): string {
  if (offset === pool.length) {
    randomFillSync(pool);
    offset = 0;
  }
  const ids = pool.toString("hex", offset, offset + pairBytes);
  offset += pairBytes;
  const fresh = `00-${ids.slice(0, 32)}-${ids.slice(32)}-01`;
  return isValidTraceparent(fresh) ? fresh : newTraceparent();
}
