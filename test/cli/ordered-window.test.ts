import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { OrderedWindow } from "#libs/cli/ordered-window.ts";

describe("OrderedWindow", () => {
  test("writes in the order of the beginnings, whatever the order of the ends, within its bounds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ bytes: fc.nat(40), turns: fc.nat(6) }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 10 }),
        fc.boolean(),
        async (works, maxEntries, slowWrites) => {
          let written = "";
          let writing = 0;
          let longest = 0;
          const window = new OrderedWindow({
            maxEntries,
            maxBytes: 100,
            async write(text) {
              assert.equal(++writing, 1, "one write at a time");
              if (slowWrites) await turn();
              written += text;
              writing--;
            },
          });
          for (const [index, { bytes, turns }] of works.entries()) {
            await window.room();
            const finish = window.begin(bytes);
            longest = Math.max(longest, window.length);
            void (async () => {
              for (let left = turns; left > 0; left--) await turn();
              finish(String(index));
            })();
          }
          await window.empty();
          assert.equal(written, works.map((_, index) => `${index}\n`).join(""));
          assert.ok(longest <= maxEntries);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("admits no more while too many bytes wait for their turn", async () => {
    const texts: string[] = [];
    const window = new OrderedWindow({ maxEntries: 100, maxBytes: 10, write: (text) => void texts.push(text) });
    const finishFirst = window.begin(0);
    window.begin(0)("x".repeat(20));
    let admitted = false;
    const room = window.room()?.then(() => (admitted = true));
    await turn();
    await turn();
    assert.equal(admitted, false);
    finishFirst("first");
    await room;
    assert.equal(texts.join(""), `first\n${"x".repeat(20)}\n`);
  });

  test("tells whoever waits that writing failed", async () => {
    const window = new OrderedWindow({
      maxEntries: 1,
      maxBytes: 10,
      write: () => Promise.reject(new Error("disk full")),
    });
    window.begin(1)("text");
    await assert.rejects(window.empty(), /disk full/);
    await assert.rejects(async () => await window.room(), /disk full/);
  });
});
