import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromPageToken, toPageToken } from "../../../services/dispatcher/core/page-token.ts";
import { labelPairs } from "../../../services/dispatcher/core/route.ts";

test("page tokens come back as the place they were made of, and nothing else is taken for one", () => {
  const place = fc.record({ segment: fc.nat({ max: 99_999_999 }), taskKey: fc.nat({ max: Number.MAX_SAFE_INTEGER }) });
  fc.assert(fc.property(place, (at) => assert.deepEqual(fromPageToken(toPageToken(at)), { ...at })));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: "binary" })), (garbage) => {
      const parsed = fromPageToken(garbage);
      if (parsed !== undefined) assert.equal(toPageToken(parsed), garbage);
    }),
  );
  const encode = (text: string): string => Buffer.from(text).toString("base64url");
  for (const text of ["", ".", "1.", ".1", "-1.1", "1.1.1", "1.1 ", "01.1", "1.99999999999999999", "1.1\n", "1e3.1"]) {
    assert.equal(fromPageToken(encode(text)), undefined, text);
  }
  assert.equal(fromPageToken(`${toPageToken({ segment: 1, taskKey: 1 })}=`), undefined);
});

test("labels are the same route in any order, and of a key that appears twice the last counts", () => {
  const pairs = labelPairs([
    { $typeName: "legion.common.v1.Label", key: "b", value: "1" },
    { $typeName: "legion.common.v1.Label", key: "a", value: "1" },
    { $typeName: "legion.common.v1.Label", key: "b", value: "2" },
  ]);
  assert.deepEqual(pairs, [
    ["a", "1"],
    ["b", "2"],
  ]);
});
