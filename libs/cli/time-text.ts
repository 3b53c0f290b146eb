import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
] as const;

/** A length of time in its largest unit: `3 s`, `12 min`, `850 ms`. */
export function lengthText(ms: number): string {
  for (const [unit, unitMs] of units) {
    if (ms >= unitMs) return `${Math.floor(ms / unitMs)} ${unit}`;
  }
  return `${Math.max(0, Math.round(ms))} ms`;
}

/** How long ago, or how far ahead: `3 s ago`, `in 2 min`. */
export function agoText(time: Timestamp | undefined, nowMs: number): string {
  if (time === undefined) return "";
  const ms = nowMs - timestampMs(time);
  // The mesh's clock and ours need not agree to the second.
  if (Math.abs(ms) < 1_000) return "now";
  return ms > 0 ? `${lengthText(ms)} ago` : `in ${lengthText(-ms)}`;
}

/** `12:03:04.512` in local time. */
export function clockText(time: Timestamp | undefined): string {
  if (time === undefined) return "";
  const date = new Date(timestampMs(time));
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** `2030-01-31 12:03:04` in local time. */
export function dateText(time: Timestamp | undefined): string {
  if (time === undefined) return "";
  const date = new Date(timestampMs(time));
  const day = `${date.getFullYear()}-${digits(date.getMonth() + 1)}-${digits(date.getDate())}`;
  return `${day} ${date.toTimeString().slice(0, 8)}`;
}

function digits(value: number): string {
  return String(value).padStart(2, "0");
}

/** Between two times, such as an attempt's length; undefined if one is missing. */
export function betweenText(from: Timestamp | undefined, to: Timestamp | undefined): string | undefined {
  if (from === undefined || to === undefined) return undefined;
  const ms = timestampMs(to) - timestampMs(from);
  return ms < 10_000 ? `${ms.toLocaleString("en")} ms` : lengthText(ms);
}
