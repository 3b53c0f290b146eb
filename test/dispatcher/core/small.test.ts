import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { LimitSchema, WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { AcquisitionSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { TaskSpecSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { appliesTo, passesUncounted } from "../../../services/dispatcher/core/limits.ts";
import { fromPageToken, toPageToken } from "../../../services/dispatcher/core/page-token.ts";
import { labelPairs } from "../../../services/dispatcher/core/route.ts";
import { keyValues, LimitSet } from "../../../services/ratelimit/core/limit-set.ts";

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

const words = fc.constantFrom("a", "b", "c");
const labels = fc.array(fc.record({ key: words, value: words }), { maxLength: 4 });

test("the Dispatcher asks about a task exactly when the RateLimit service would count it", () => {
  const limitArbitrary = fc.record({
    namespace: fc.constantFrom("n", "m"),
    selector: fc.option(
      fc.record({ capabilities: fc.array(words, { maxLength: 2 }), users: fc.array(words, { maxLength: 2 }), labels }),
      { nil: undefined },
    ),
  });
  fc.assert(
    fc.property(limitArbitrary, words, words, labels, ({ namespace, selector }, capability, user, taskLabels) => {
      const limit = create(LimitSchema, { namespace, name: "l", ...(selector && { selector }) });
      const task = create(TaskSpecSchema, { namespace: "n", capability, user, labels: taskLabels });
      const stored = { limitId: 1n, rule: { tokens: 1n, periodUs: 1n, burst: 1n } as never, limit };
      const values = keyValues(create(AcquisitionSchema, { capability, user, labels: taskLabels }));
      const counted = new LimitSet(1n, [stored]).applying("n", values, []).length > 0;
      assert.equal(appliesTo(limit, task), counted);
    }),
    { numRuns: 2_000 },
  );
});

test("a task passes uncounted only if every limit on it fails open", () => {
  const limit = (whenUnreachable: WhenUnreachable) => create(LimitSchema, { whenUnreachable });
  const [open, closed] = [limit(WhenUnreachable.FAIL_OPEN), limit(WhenUnreachable.FAIL_CLOSED)];
  assert.equal(passesUncounted([]), true);
  assert.equal(passesUncounted([open, open]), true);
  assert.equal(passesUncounted([open, closed]), false);
  assert.equal(passesUncounted([open, limit(WhenUnreachable.UNSPECIFIED)]), false);
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
