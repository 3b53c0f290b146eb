import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isValidTraceparent, newTraceparent, spanIdOf, traceIdOf } from "#libs/telemetry/traceparent.ts";

const trace = "0af7651916cd43dd8448eb211c80319c";
const span = "b7ad6b7169203331";

test("what W3C Trace Context calls valid is continued, the rest is not", () => {
  const valid = [
    `00-${trace}-${span}-01`,
    `00-${trace}-${span}-00`,
    `00-${trace}-${span}-ff`,
    `cc-${trace}-${span}-01-more`,
    `01-${trace}-${span}-01`,
  ];
  const invalid = [
    "",
    "garbage",
    `ff-${trace}-${span}-01`,
    `00-${"0".repeat(32)}-${span}-01`,
    `00-${trace}-${"0".repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace}-${span}-01-more`,
    `00-${trace}-${span}-01-`,
    `cc-${trace}-${span}-01more`,
    `00-${trace}-${span}-0`,
    ` 00-${trace}-${span}-01`,
    `00-${trace}-${span}-01\n`,
  ];
  assert.deepEqual(
    valid.filter((traceparent) => !isValidTraceparent(traceparent)),
    [],
  );
  assert.deepEqual(invalid.filter(isValidTraceparent), []);
  assert.equal(traceIdOf(valid[0]), trace);
  assert.equal(spanIdOf(valid[3]), span);
  assert.equal(traceIdOf(invalid[1]), undefined);
});

test("fresh ones are valid, sampled and never repeat, past the end of the pool of random bytes", () => {
  const fresh = Array.from({ length: 1_000 }, newTraceparent);
  assert.ok(fresh.every((traceparent) => isValidTraceparent(traceparent) && traceparent.endsWith("-01")));
  assert.equal(new Set(fresh.map(traceIdOf)).size, 1_000);
  assert.equal(new Set(fresh.map(spanIdOf)).size, 1_000);
});

test("no string makes it throw", () => {
  fc.assert(fc.property(fc.string(), (text) => !isValidTraceparent(text)));
});
