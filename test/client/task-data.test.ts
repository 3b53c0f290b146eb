import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LegionError } from "#libs/client/errors.ts";
import { encodeTaskData } from "#libs/client/task-data.ts";

class Person {
  readonly name = "Ada";
}

class Celsius {
  toJSON(): number {
    return 21;
  }
}

const cyclic: Record<string, unknown> = {};
cyclic["self"] = cyclic;

function refusalOf(value: unknown, maxBytes?: number): LegionError {
  try {
    encodeTaskData(value, maxBytes);
  } catch (error) {
    if (error instanceof LegionError) return error;
    throw error;
  }
  throw new Error("It was taken.");
}

describe("encodeTaskData", () => {
  const refused: [string, unknown, RegExp][] = [
    ["null", null, /null/],
    ["undefined", undefined, /undefined/],
    ["an array", [1], /an array/],
    ["a string", "text", /a string/],
    ["a number", 1, /a number/],
    ["a bigint", 1n, /a bigint/],
    ["a function", () => ({}), /a function/],
    ["a date, which JSON makes a string of", new Date(), /a string, not an object/],
    ["an object whose toJSON gives a number", new Celsius(), /a number, not an object/],
    ["a map, which JSON empties", new Map([["a", 1]]), /a Map; use a plain object/],
    ["a promise, which JSON empties", Promise.resolve({}), /await it/],
    ["bytes, which JSON numbers one by one", Buffer.from("{}"), /bytes/],
    ["an error, which JSON empties", new TypeError("no"), /a TypeError/],
    ["a circle", cyclic, /cannot be written as JSON: Converting circular structure/],
    ["a bigint inside", { big: 1n }, /cannot be written as JSON: .*BigInt/],
  ];
  for (const [what, value, message] of refused) {
    test(`refuses ${what}`, () => {
      const error = refusalOf(value);
      assert.equal(error.reason, "TASK_DATA_NOT_OBJECT");
      assert.equal(error.code, "INVALID_ARGUMENT");
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
    });
  }

  test("writes objects as JSON, those of classes included", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        assert.equal(Buffer.from(encodeTaskData(value)).toString(), JSON.stringify(value));
      }),
    );
    assert.equal(Buffer.from(encodeTaskData(new Person())).toString(), '{"name":"Ada"}');
  });

  test("refuses what is larger than the limit in UTF-8, and nothing smaller", () => {
    const data = { text: "é".repeat(100) };
    const { length } = Buffer.from(JSON.stringify(data));
    assert.equal(encodeTaskData(data, length).length, length);
    assert.equal(refusalOf(data, length - 1).reason, "TASK_DATA_TOO_LARGE");
    assert.match(refusalOf({ text: "x".repeat(3 * 1024 * 1024) }).message, /3\.00 MiB; at most 2 MiB/);
  });
});
