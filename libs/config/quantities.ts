import { type Common, type Given, Unacceptable, type Variable, variable } from "./variable.ts";

const durationUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const byteUnits: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

export type DurationText = `${number}${"ms" | "s" | "m" | "h" | "d"}`;
export type BytesText = `${number}${"B" | "KiB" | "MiB" | "GiB"}`;

interface Bounded<D extends string | number> extends Common<D> {
  readonly min?: D;
  readonly max?: D;
}

/** A whole number. */
export function integer<const O extends Bounded<number>>(options: O): Variable<Given<O, number>> {
  const within = range(options.min, options.max, Number);
  return variable(options, {
    expected: `an integer${within.text}`,
    example: String(options.default ?? options.min ?? 1),
    parse(text) {
      if (!/^[+-]?\d+$/.test(text)) throw new Unacceptable();
      return within.check(Number(text));
    },
  });
}

/** A length of time with its unit, "250ms", "5s", "2m", "1h" or "7d"; read as milliseconds. */
export function duration<const O extends Bounded<DurationText>>(options: O): Variable<Given<O, number>> {
  const within = range(options.min, options.max, parseDuration);
  return variable(options, {
    expected: `a duration with its unit (ms, s, m, h or d)${within.text}`,
    example: options.default ?? options.min ?? "5s",
    parse: (text) => within.check(parseDuration(text)),
  });
}

/** A size, "512KiB", "2MiB", "1GiB", or a plain number of bytes; read as bytes. */
export function bytes<const O extends Bounded<BytesText>>(options: O): Variable<Given<O, number>> {
  const within = range(options.min, options.max, parseBytes);
  return variable(options, {
    expected: `a size in bytes, or with its unit (B, KiB, MiB or GiB)${within.text}`,
    example: options.default ?? options.min ?? "2MiB",
    parse: (text) => within.check(parseBytes(text)),
  });
}

function parseDuration(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/.exec(text) ?? [];
  if (digits === undefined) throw new Unacceptable();
  if (unit === "" && Number(digits) === 0) return 0;
  if (unit === "") throw new Unacceptable(`a plain number has no unit: write ${digits}s or ${digits}ms`);
  const unitMs = durationUnitsMs[unit ?? ""];
  if (unitMs === undefined) throw new Unacceptable();
  return Math.round(Number(digits) * unitMs);
}

function parseBytes(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/.exec(text) ?? [];
  const unitBytes = byteUnits[unit || "B"];
  if (digits === undefined || unitBytes === undefined) throw new Unacceptable();
  return Math.round(Number(digits) * unitBytes);
}

function range<D extends string | number>(min: D | undefined, max: D | undefined, toNumber: (bound: string) => number) {
  const low = min === undefined ? 0 : toNumber(String(min));
  const high = max === undefined ? Number.MAX_SAFE_INTEGER : toNumber(String(max));
  let text = "";
  if (min !== undefined && max !== undefined) text = ` from ${min} to ${max}`;
  else if (min !== undefined) text = ` of at least ${min}`;
  else if (max !== undefined) text = ` of at most ${max}`;
  return {
    text,
    check(value: number): number {
      if (!Number.isSafeInteger(value) || value < low || value > high) throw new Unacceptable();
      return value;
    },
  };
}
