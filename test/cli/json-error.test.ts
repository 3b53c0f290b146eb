import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { findJsonError } from "#libs/cli/json-error.ts";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("findJsonError", () => {
  const cases: [string, number, number, string][] = [
    ['{"name": Bob}', 1, 10, "expected a value but found 'Bob}'"],
    ["{name: 1}", 1, 2, "expected a name in double quotes but found 'name: 1}'"],
    ['{"a": 1,}', 1, 9, "expected a name in double quotes but found '}'"],
    ['{"a": 1\n "b": 2}', 2, 2, `expected ',' or '}' but found '"b": 2}'`],
    ['{\n  "a": [1, 2', 2, 13, "expected ',' or ']' but the text ends"],
    ['{"a": 1} extra', 1, 10, "expected the end but found 'extra'"],
    ['{"a": "open', 1, 12, "expected a closing '\"' but the text ends"],
    ['{"a": "\\x"}', 1, 8, "expected an escape such as \\n, \\\" or \\u00e9 but found '\\x\"}'"],
    ['{"a": "two\nlines"}', 1, 11, "expected no control character in a string but found a line break"],
    ['{"a" 1}', 1, 6, "expected ':' but found '1}'"],
    ['{"a": 01}', 1, 7, "expected a value but found '01}'"],
    ["", 1, 1, "expected a value but the text ends"],
  ];
  for (const [text, line, column, problem] of cases) {
    test(`says where ${JSON.stringify(text)} stops being JSON`, () => {
      assert.equal(isJson(text), false);
      assert.deepEqual(findJsonError(text), { line, column, problem });
    });
  }

  test("finds an error exactly where JSON.parse does", () => {
    const damaged = fc.tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom("", "{", "}", "[", "]", ",", ":", '"', "\\", "0", "t", "-", " ", "\n"),
    );
    fc.assert(
      fc.property(damaged, fc.nat(2), ([json, position, insert], remove) => {
        const at = position % (json.length + 1);
        const text = json.slice(0, at) + insert + json.slice(at + remove);
        assert.equal(findJsonError(text) === undefined, isJson(text), text);
      }),
      { numRuns: 2_000 },
    );
  });

  test("is not harmed by depth", () => {
    assert.equal(findJsonError("[".repeat(200_000))?.column, 200_001);
  });
});
