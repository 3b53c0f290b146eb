import { types } from "pg";

type Parser = (text: string) => unknown;

/** The ends of what a `Date` can hold stand for Postgres's `infinity` and `-infinity`, both ways. */
export const infiniteTimeMs = 8.64e15;

// pg reads a binary result as UTF-8 before anybody sees it, which destroys it (8.23), so results are text. It costs little:
// the hex of a bytea is decoded in 0.4 µs for 200 B and 2.4 µs for 2 KiB.
const parsers = new Map<number, Parser>([
  [16, (text) => text === "t"], // bool
  [17, (text) => Buffer.from(text.slice(2), "hex")], // bytea
  [20, BigInt], // int8
  [21, Number], // int2
  [23, Number], // int4
  [1016, parseInt8Array], // int8[]
  [1184, parseTimestamp], // timestamptz
]);

/**
 * How columns become values, for prepared statements and Kysely alike: int2, int4, float4, float8 → number; int8 → bigint,
 * always (a statement that counts small things says `count(*)::int4`); numeric → string; bool → boolean; text, uuid →
 * string; bytea → Buffer; timestamptz → Date (whole milliseconds); json, jsonb → parsed; int8[] → bigint[], of one
 * dimension.
 */
export function columnParser(typeOid: number): Parser {
  const parser = parsers.get(typeOid);
  if (parser !== undefined) return parser;
  // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- any oid will do, it knows the builtin ones
  return types.getTypeParser(typeOid, "text");
}

function parseInt8Array(text: string): (bigint | null)[] {
  if (text === "{}") return [];
  return text
    .slice(1, -1)
    .split(",")
    .map((item) => (item === "NULL" ? null : BigInt(item)));
}

/** Sessions run in UTC with ISO dates, so nearly always this is `2026-01-31 12:34:56.123456+00`. */
function parseTimestamp(text: string): Date {
  if (text === "infinity") return new Date(infiniteTimeMs);
  if (text === "-infinity") return new Date(-infiniteTimeMs);
  const hasFourDigitYear = text.charCodeAt(4) === dash;
  // Date.UTC moves the years 0 to 99 into the twentieth century; Postgres writes the years before 1 with "BC".
  if (!hasFourDigitYear || text.startsWith("00") || text.endsWith("BC")) return parseFarTimestamp(text);
  const secondsMs = Date.UTC(
    digits(text, 0, 4),
    digits(text, 5, 2) - 1,
    digits(text, 8, 2),
    digits(text, 11, 2),
    digits(text, 14, 2),
    digits(text, 17, 2),
  );
  return new Date(secondsMs + fractionMs(text));
}

function parseFarTimestamp(text: string): Date {
  const year = Number(text.slice(0, text.indexOf("-")));
  const rest = text.slice(text.indexOf("-") + 1);
  const date = new Date(0);
  date.setUTCFullYear(text.endsWith("BC") ? 1 - year : year, digits(rest, 0, 2) - 1, digits(rest, 3, 2));
  date.setUTCHours(digits(rest, 6, 2), digits(rest, 9, 2), digits(rest, 12, 2), fractionMs(text));
  return date;
}

/** Postgres writes one to six digits of a fraction, or none. */
function fractionMs(text: string): number {
  const point = text.indexOf(".", 18);
  if (point === -1) return 0;
  let value = 0;
  for (let i = 1; i <= 3; i++) {
    const digit = text.charCodeAt(point + i) - zero;
    if (!(digit >= 0 && digit <= 9)) return value * 10 ** (4 - i);
    value = value * 10 + digit;
  }
  return value;
}

const zero = 0x30;
const dash = 0x2d;

function digits(text: string, start: number, count: number): number {
  let value = 0;
  for (let i = start; i < start + count; i++) value = value * 10 + text.charCodeAt(i) - zero;
  return value;
}
