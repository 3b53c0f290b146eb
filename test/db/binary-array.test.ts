import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  boolArray,
  byteaArray,
  float8Array,
  int2Array,
  int4Array,
  int8Array,
  jsonbArray,
  textArray,
  timestamptzArray,
} from "#libs/db/binary-array.ts";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { testDatabase } from "../harness/postgres.ts";

function maybe<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.option(arbitrary, { freq: 6 });
}

// A long text takes another path than a short one. Postgres has no character 0, UTF-8 no lone surrogate.
const text = fc
  .oneof(
    fc.string({ unit: "grapheme" }),
    fc.string({ unit: "binary", maxLength: 200 }),
    fc.string({ minLength: 40, maxLength: 60 }),
  )
  .map((value) => value.replaceAll("\0", ""));
const time = fc.date({ noInvalidDate: true, min: new Date("-004000-01-01"), max: new Date("+275000-01-01") });

const row = fc.record(
  {
    a: maybe(fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })),
    b: maybe(fc.integer()),
    c: maybe(fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.maxSafeInteger().map(BigInt))),
    d: maybe(fc.double()),
    e: maybe(fc.boolean()),
    f: maybe(text),
    g: maybe(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))),
    h: maybe(fc.oneof(time, fc.constantFrom(new Date(8.64e15), new Date(-8.64e15)))),
    i: maybe(fc.record({ key: text, n: fc.integer(), list: fc.array(fc.boolean()) }, { noNullPrototype: true })),
  },
  { noNullPrototype: true },
);

test("every array comes back from Postgres as it was", async () => {
  await using database = await testDatabase();
  await using pool = new ConnectionPool({ connectionString: database.connectionString, schema: "public" });
  const unnest = prepared<Record<string, unknown>>(
    "unnest",
    `select * from unnest($1::int2[], $2::int4[], $3::int8[], $4::float8[], $5::bool[], $6::text[], $7::bytea[],
       $8::timestamptz[], $9::jsonb[]) as t (a, b, c, d, e, f, g, h, i)`,
  );
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 40 }), async (rows) => {
      const back = await pool.run(unnest, [
        int2Array(rows.map((r) => r.a)),
        int4Array(rows.map((r) => r.b)),
        int8Array(rows.map((r) => r.c)),
        float8Array(rows.map((r) => r.d)),
        boolArray(rows.map((r) => r.e)),
        textArray(rows.map((r) => r.f)),
        byteaArray(rows.map((r) => r.g)),
        timestamptzArray(rows.map((r) => r.h)),
        jsonbArray(rows.map((r) => (r.i === null ? null : JSON.stringify(r.i)))),
      ]);
      assert.deepEqual(back, rows);
    }),
    { numRuns: 200 },
  );
});

test("int8 takes safe numbers, timestamps take milliseconds with microseconds, undefined is NULL", async () => {
  await using database = await testDatabase();
  await using pool = new ConnectionPool({ connectionString: database.connectionString, schema: "public" });
  const statement = prepared("show", "select $1::int8[]::text as ints, $2::timestamptz[]::text as times");
  const rows = await pool.run(statement, [
    int8Array([Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, -1, undefined]),
    timestamptzArray([Date.UTC(2026, 0, 2, 3, 4, 5, 678) + 0.901, -0.001, Infinity, -Infinity, undefined]),
  ]);
  assert.deepEqual(rows, [
    {
      ints: "{9007199254740991,-9007199254740991,-1,NULL}",
      times: '{"2026-01-02 03:04:05.678901+00","1969-12-31 23:59:59.999999+00",infinity,-infinity,NULL}',
    },
  ]);
});

test("what does not fit is refused before it is sent", () => {
  assert.throws(() => int2Array([32_768]), RangeError);
  assert.throws(() => int4Array([2 ** 31]), RangeError);
  assert.throws(() => int4Array([1.5]), RangeError);
  assert.throws(() => int8Array([2 ** 53]), RangeError);
  assert.throws(() => int8Array([2n ** 63n]), RangeError);
  assert.throws(() => timestamptzArray([NaN]), RangeError);
});
