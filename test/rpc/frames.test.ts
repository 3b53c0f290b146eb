import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as nextTick } from "node:timers/promises";
import * as fc from "fast-check";
import { FrameBuffer } from "#libs/rpc/frames.ts";

describe("FrameBuffer", () => {
  test("loses, repeats and reorders nothing, keeps its bounds and stops when told to", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 200 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 8 }), fc.infiniteStream(fc.boolean()), (items, maxItems, taken) => {
        const frames: number[][] = [];
        let open = true;
        const buffer = new FrameBuffer<{ index: number; size: number }>({
          maxItems,
          maxBytes: 40,
          sizeOf: ({ size }) => size,
          write: (frame) => {
            assert.ok(open, "written to although the stream was full");
            frames.push(frame.map(({ index }) => index));
            const bytes = frame.reduce((sum, { size }) => sum + size, 0);
            assert.ok(frame.length <= maxItems && (bytes <= 40 || frame.length === 1));
            return (open = taken.next().value);
          },
        });
        items.forEach((size, index) => {
          buffer.push({ index, size });
          if (index % 7 === 0) buffer.flush();
        });
        buffer.flush();
        while (buffer.length > 0) {
          open = true;
          buffer.drained();
        }
        assert.equal(buffer.bytes, 0);
        assert.deepEqual(
          frames.flat(),
          items.map((_, index) => index),
        );
      }),
    );
  });

  test("sends what one tick brought as one frame, by itself", async () => {
    const frames: string[][] = [];
    const buffer = new FrameBuffer<string>({ sizeOf: () => 1, write: (frame) => frames.push(frame) > 0 });
    buffer.push("a");
    queueMicrotask(() => buffer.push("b"));
    await nextTick();
    await nextTick();
    assert.deepEqual(frames, [["a", "b"]]);
  });

  test("gives back what was never sent", () => {
    const buffer = new FrameBuffer<number>({ sizeOf: () => 10, maxItems: 2, write: () => false });
    for (let item = 0; item < 5; item += 1) buffer.push(item);
    buffer.flush();
    assert.deepEqual([buffer.length, buffer.bytes], [3, 30]);
    assert.deepEqual(buffer.clear(), [2, 3, 4]);
    assert.deepEqual([buffer.length, buffer.bytes], [0, 0]);
  });
});
