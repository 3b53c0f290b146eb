import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { backoffCeilingMs, backoffDelayMs } from "#libs/clock/backoff.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { ManualClock } from "#libs/clock/manual-clock.ts";
import { sleep } from "#libs/clock/sleep.ts";

test("advancing fires timers in order, each at its own time, with those armed in reaction", async () => {
  const clock = new ManualClock(1_000);
  const fired: [string, number][] = [];
  const at = (name: string) => () => void fired.push([name, clock.now()]);
  clock.setTimer(at("late"), 50);
  clock.setTimer(at("early"), 10);
  clock.setTimer(at("tie"), 50);
  clock.setTimer(at("never"), 101);
  clock.setTimer(at("canceled"), 20)[Symbol.dispose]();
  const every = clock.setInterval(at("every"), 40);
  const chain = (async () => {
    await sleep(clock, 30);
    await sleep(clock, 30);
    at("chained")();
  })();
  await clock.advance(100);
  await chain;
  assert.deepEqual(fired, [
    ["early", 1_010],
    ["every", 1_040],
    ["late", 1_050],
    ["tie", 1_050],
    ["chained", 1_060],
    ["every", 1_080],
  ]);
  assert.deepEqual([clock.now(), clock.monotonic(), clock.pendingTimers], [1_100, 100, 2]);
  every[Symbol.dispose]();
  assert.equal(clock.pendingTimers, 1);
  await assert.rejects(clock.advance(-1), RangeError);
});

test("a sleep ends at once when its signal aborts, and leaves no timer", async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const sleeping = sleep(clock, 1_000, stop.signal);
  assert.equal(clock.pendingTimers, 1);
  stop.abort();
  await sleeping;
  assert.equal(clock.pendingTimers, 0);
  await sleep(clock, 1_000, stop.signal);
});

test("the system's timers fire, cancel, and bear delays longer than 24.8 days", async () => {
  const fired: string[] = [];
  systemClock.setTimer(() => fired.push("canceled"), 1)[Symbol.dispose]();
  const far = systemClock.setTimer(() => fired.push("far"), 2 ** 40);
  const started = systemClock.monotonic();
  await new Promise<void>((resolve) => void systemClock.setTimer(resolve, 20));
  assert.ok(systemClock.monotonic() - started >= 19);
  far[Symbol.dispose]();
  let every: Disposable | undefined;
  const keepAlive = setInterval(() => {}, 1_000);
  await new Promise<void>((resolve) => (every = systemClock.setInterval(resolve, 1)));
  every?.[Symbol.dispose]();
  clearInterval(keepAlive);
  assert.deepEqual(fired, []);
});

test("backoff stays between nothing and a ceiling that grows to its maximum", () => {
  const policy = { initialMs: 100, maxMs: 10_000 };
  assert.deepEqual(
    [1, 2, 3, 7, 8, 10_000].map((attempt) => backoffCeilingMs(attempt, policy)),
    [100, 200, 400, 6_400, 10_000, 10_000],
  );
  assert.equal(backoffCeilingMs(3, { ...policy, factor: 1 }), 100);
  assert.equal(backoffDelayMs(2, { ...policy, random: () => 0.25 }), 50);
  fc.assert(
    fc.property(
      fc.nat(),
      fc.nat(),
      fc.nat(),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (attempt, initialMs, maxMs, n) => {
        const delayMs = backoffDelayMs(attempt, { initialMs, maxMs, random: () => n });
        assert.ok(delayMs >= 0 && delayMs <= maxMs);
      },
    ),
  );
});
