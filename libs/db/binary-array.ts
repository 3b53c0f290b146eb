import { infiniteTimeMs } from "./types.ts";

/*
 * JavaScript arrays as Postgres's binary arrays, to be used as parameters: `unnest($1::bytea[], $2::int4[])`. pg sends a
 * Buffer as it is, so nothing is escaped here or parsed there. The cast in the statement must name exactly the encoder's
 * type: Postgres refuses `text` elements for a `varchar[]`. All of them are one-dimensional, and null or undefined is NULL.
 */

type Items<T> = readonly (T | null | undefined)[];

const oid = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  float8: 701,
  timestamptz: 1184,
  jsonb: 3802,
};

const headerBytes = 20;
const nullLength = -1;

export function int2Array(items: Items<number>): Buffer {
  return fixedArray(items, oid.int2, 2, (view, offset, value) => {
    if ((value << 16) >> 16 !== value) throw outOfRange("int2", value);
    view.setInt16(offset, value);
  });
}

export function int4Array(items: Items<number>): Buffer {
  return fixedArray(items, oid.int4, 4, (view, offset, value) => {
    if ((value | 0) !== value) throw outOfRange("int4", value);
    view.setInt32(offset, value);
  });
}

/** Numbers must be safe integers. */
export function int8Array(items: Items<bigint | number>): Buffer {
  return fixedArray(items, oid.int8, 8, (view, offset, value) => {
    if (typeof value === "number") {
      if (!Number.isSafeInteger(value)) throw outOfRange("int8", value);
      setInt64(view, offset, value);
    } else {
      if (BigInt.asIntN(64, value) !== value) throw outOfRange("int8", value);
      view.setBigInt64(offset, value);
    }
  });
}

export function float8Array(items: Items<number>): Buffer {
  return fixedArray(items, oid.float8, 8, (view, offset, value) => view.setFloat64(offset, value));
}

export function boolArray(items: Items<boolean>): Buffer {
  return fixedArray(items, oid.bool, 1, (view, offset, value) => view.setUint8(offset, value ? 1 : 0));
}

/** Dates, or milliseconds since 1970, of which microseconds are kept. ±8.64e15 and ±Infinity mean `infinity`. */
export function timestamptzArray(items: Items<Date | number>): Buffer {
  return fixedArray(items, oid.timestamptz, 8, (view, offset, value) => {
    const timeMs = Number(value);
    if (Number.isNaN(timeMs)) throw outOfRange("timestamptz", timeMs);
    if (timeMs >= infiniteTimeMs) view.setBigInt64(offset, 0x7fff_ffff_ffff_ffffn);
    else if (timeMs <= -infiniteTimeMs) view.setBigInt64(offset, -0x8000_0000_0000_0000n);
    else setTime(view, offset, timeMs - epochOfPostgresMs);
  });
}

/** Postgres has no character 0 in a text and refuses the whole statement for one (22021). */
export function textArray(items: Items<string>): Buffer {
  return stringArray(items, oid.text, false);
}

/** The items are JSON texts already, as `JSON.stringify` makes them. */
export function jsonbArray(items: Items<string>): Buffer {
  return stringArray(items, oid.jsonb, true);
}

export function byteaArray(items: Items<Uint8Array>): Buffer {
  let size = headerBytes;
  for (let i = 0; i < items.length; i++) size += 4 + (items[i]?.length ?? 0);
  const buffer = Buffer.allocUnsafe(size);
  const view = viewOf(buffer);
  let offset = headerBytes;
  let hasNull = false;
  for (let i = 0; i < items.length; i++) {
    const value = items[i];
    if (value == null) {
      hasNull = true;
      view.setInt32(offset, nullLength);
      offset += 4;
    } else {
      view.setInt32(offset, value.length);
      buffer.set(value, offset + 4);
      offset += 4 + value.length;
    }
  }
  return finish(buffer, view, offset, oid.bytea, items.length, hasNull);
}

function stringArray(items: Items<string>, elementOid: number, isJsonb: boolean): Buffer {
  const prefixBytes = isJsonb ? 1 : 0;
  // A UTF-16 unit is at most 3 bytes of UTF-8. Reserving that much is cheaper than measuring every string first.
  let size = headerBytes;
  for (let i = 0; i < items.length; i++) size += 4 + prefixBytes + 3 * (items[i]?.length ?? 0);
  const buffer = Buffer.allocUnsafe(size);
  const view = viewOf(buffer);
  let offset = headerBytes;
  let hasNull = false;
  for (let i = 0; i < items.length; i++) {
    const value = items[i];
    if (value == null) {
      hasNull = true;
      view.setInt32(offset, nullLength);
      offset += 4;
      continue;
    }
    if (isJsonb) buffer[offset + 4] = 1; // the version of the format
    const start = offset + 4 + prefixBytes;
    const bytes = writeUtf8(buffer, start, value);
    view.setInt32(offset, prefixBytes + bytes);
    offset = start + bytes;
  }
  return finish(buffer, view, offset, elementOid, items.length, hasNull);
}

/** A call out of JavaScript costs more than a short ASCII string, which most ids are. */
function writeUtf8(buffer: Buffer, offset: number, text: string): number {
  const { length } = text;
  if (length > 48) return buffer.write(text, offset);
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return buffer.write(text, offset);
    buffer[offset + i] = unit;
  }
  return length;
}

function fixedArray<T>(
  items: Items<T>,
  elementOid: number,
  elementBytes: number,
  write: (view: DataView, offset: number, value: T) => void,
): Buffer {
  const buffer = Buffer.allocUnsafe(headerBytes + items.length * (4 + elementBytes));
  const view = viewOf(buffer);
  let offset = headerBytes;
  let hasNull = false;
  for (let i = 0; i < items.length; i++) {
    const value = items[i];
    if (value == null) {
      hasNull = true;
      view.setInt32(offset, nullLength);
      offset += 4;
    } else {
      view.setInt32(offset, elementBytes);
      write(view, offset + 4, value);
      offset += 4 + elementBytes;
    }
  }
  return finish(buffer, view, offset, elementOid, items.length, hasNull);
}

function finish(
  buffer: Buffer,
  view: DataView,
  end: number,
  elementOid: number,
  count: number,
  hasNull: boolean,
): Buffer {
  view.setInt32(0, count === 0 ? 0 : 1); // dimensions
  view.setInt32(4, hasNull ? 1 : 0);
  view.setInt32(8, elementOid);
  view.setInt32(12, count);
  view.setInt32(16, 1); // the first index
  return buffer.subarray(0, count === 0 ? 12 : end);
}

const epochOfPostgresMs = Date.UTC(2000, 0, 1);

/** Microseconds, as Postgres counts them. */
function setTime(view: DataView, offset: number, timeMs: number): void {
  const timeUs = Math.round(timeMs * 1000);
  if (Number.isSafeInteger(timeUs)) setInt64(view, offset, timeUs);
  // Beyond the year 2285 the product has no exact number, only its factors do.
  else view.setBigInt64(offset, BigInt(Math.round(timeMs)) * 1000n);
}

/** An integral number; beyond 2^53 too, where the halves are exact all the same. */
function setInt64(view: DataView, offset: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  view.setInt32(offset, high);
  view.setUint32(offset + 4, value - high * 0x1_0000_0000);
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}

function outOfRange(type: string, value: unknown): RangeError {
  return new RangeError(`Not a value of ${type}: ${String(value)}`);
}
