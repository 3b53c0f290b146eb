import assert from "node:assert/strict";
import { test } from "node:test";
import { Batcher } from "#libs/db/batcher.ts";

/** A batcher whose batches end when the test says so. */
function controlled(options: {
  maxItems?: number;
  concurrency?: number;
  maxBytes?: number;
  sizeOf?: (n: number) => number;
}) {
  const batches: { items: number[]; done: PromiseWithResolvers<number[]> }[] = [];
  const batcher = new Batcher<number, number>({
    ...options,
    run(items) {
      const done = Promise.withResolvers<number[]>();
      batches.push({ items, done });
      return done.promise;
    },
  });
  const finish = (index: number): void => {
    const { items, done } = batches[index]!;
    done.resolve(items.map((item) => item * 10));
  };
  return { batcher, batches, finish };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what arrives while a batch runs goes into the next one, in order", async () => {
  const { batcher, batches, finish } = controlled({});
  const first = [batcher.add(1), batcher.add(2)];
  await turn();
  const second = [batcher.add(3), batcher.add(4), batcher.add(5)];
  await turn();
  assert.deepEqual(
    batches.map(({ items }) => items),
    [[1, 2]],
  );
  assert.equal(batcher.size, 5);

  finish(0);
  assert.deepEqual(await Promise.all(first), [10, 20]);
  assert.deepEqual(
    batches.map(({ items }) => items),
    [
      [1, 2],
      [3, 4, 5],
    ],
  );
  finish(1);
  assert.deepEqual(await Promise.all(second), [30, 40, 50]);
  assert.equal(batcher.size, 0);
});

test("batches keep to maxItems, to maxBytes, and to the concurrency", async () => {
  const { batcher, batches, finish } = controlled({ maxItems: 3, maxBytes: 10, sizeOf: (n) => n, concurrency: 2 });
  const all = [4, 6, 1, 99, 1, 1, 1, 1].map((item) => batcher.add(item));
  await turn();
  // 4 + 6 fill it; 1 + 99 would be too many; two run at a time.
  assert.deepEqual(
    batches.map(({ items }) => items),
    [[4, 6], [1]],
  );
  finish(1);
  await all[2];
  finish(0);
  await all[1];
  // What is larger than the limit goes alone.
  assert.deepEqual(
    batches.slice(2).map(({ items }) => items),
    [[99], [1, 1, 1]],
  );
  finish(2);
  finish(3);
  await all[6];
  finish(4);
  assert.deepEqual(await Promise.all(all), [40, 60, 10, 990, 10, 10, 10, 10]);
});

test("a failure is its own batch's alone, however it comes", async () => {
  const ways: ((items: string[]) => Promise<string[]>)[] = [
    () => Promise.reject(new Error("rejected")),
    () => {
      throw new Error("thrown");
    },
    async (items) => items.slice(1),
    async (items) => items,
  ];
  const batcher = new Batcher<string, string>({ maxItems: 2, run: (items) => ways.shift()!(items) });
  const outcomes = await Promise.allSettled(["a", "b", "c", "d", "e", "f", "g", "h"].map((item) => batcher.add(item)));
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : outcome.reason.message)),
    ["rejected", "rejected", "thrown", "thrown", ...Array(2).fill("A batch of 2 items got 1 results"), "g", "h"],
  );
});

test("drain waits for what waits and runs, also when it fails", async () => {
  const { batcher, batches, finish } = controlled({ maxItems: 1 });
  await batcher.drain();
  const failing = assert.rejects(batcher.add(1), /broken/);
  const second = batcher.add(2);
  let drained = false;
  const draining = batcher.drain().then(() => (drained = true));
  await turn();
  batches[0]!.done.reject(new Error("broken"));
  await failing;
  await turn();
  assert.equal(drained, false);
  finish(1);
  await second;
  await draining;
});

test("a long queue that never empties is handled whole and in order", async () => {
  const seen: number[] = [];
  const batcher = new Batcher<number, void>({
    maxItems: 1000,
    async run(items) {
      seen.push(...items);
      return items.map(() => undefined);
    },
  });
  const count = 50_000;
  let answered = 0;
  for (let i = 0; i < count; i++) batcher.push(i, (error) => void (error ?? answered++));
  await batcher.drain();
  assert.equal(answered, count);
  assert.deepEqual(
    seen,
    Array.from({ length: count }, (_, i) => i),
  );
});
