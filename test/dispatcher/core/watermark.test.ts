import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Watermark, type Place } from "../../../services/dispatcher/core/watermark.ts";

const isBefore = (a: Place, b: Place): boolean => a.rank < b.rank || (a.rank === b.rank && a.taskKey < b.taskKey);
const byOrder = (a: Place, b: Place): number => (isBefore(a, b) ? -1 : 1);

const place = fc.record({ rank: fc.integer({ min: -3, max: 3 }), taskKey: fc.integer({ min: 1, max: 40 }) });
const step = fc.oneof(
  fc.record({ do: fc.constant("put" as const), place }),
  fc.record({ do: fc.constant("others put" as const), place }),
  fc.record({ do: fc.constant("claim begins" as const), most: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant("claim ends" as const) }),
);

test("whatever was put in while a claim was under way, no task lies before the watermark", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const watermark = new Watermark();
      let queue: Place[] = [];
      let claim: { readonly taken: Place[] } | undefined;
      for (const one of steps) {
        switch (one.do) {
          case "put":
            queue.push(one.place);
            watermark.lower(one.place);
            break;
          case "others put":
            queue.push(one.place);
            watermark.reset();
            break;
          case "claim begins": {
            if (claim !== undefined) break;
            const from = watermark.begin();
            // The statement sees what is there now; its answer comes later.
            const taken = queue
              .filter((at) => !isBefore(at, from))
              .toSorted(byOrder)
              .slice(0, one.most);
            queue = queue.filter((at) => !taken.includes(at));
            claim = { taken };
            break;
          }
          case "claim ends": {
            const last = claim?.taken.at(-1);
            if (last !== undefined) watermark.advance(last);
            claim = undefined;
            break;
          }
          default:
            throw one satisfies never;
        }
        for (const at of queue) assert.ok(!isBefore(at, watermark.place), `${JSON.stringify(at)} is passed over`);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("it moves on over what was claimed", () => {
  const watermark = new Watermark();
  watermark.begin();
  watermark.advance({ rank: 0, taskKey: 7 });
  assert.deepEqual(watermark.place, { rank: 0, taskKey: 7 });
  watermark.begin();
  watermark.lower({ rank: 0, taskKey: 900 });
  watermark.advance({ rank: 0, taskKey: 70 });
  assert.deepEqual(watermark.place, { rank: 0, taskKey: 70 });
});
