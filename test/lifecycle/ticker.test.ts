import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "#libs/clock/manual-clock.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";

function setUp(tick: (signal: AbortSignal) => Promise<void>) {
  const clock = new ManualClock();
  const lines: string[] = [];
  const write = (message: string, fields?: object): void => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const log = {
    info: write,
    error: (message: string, fields?: object) => write(message, { ...fields, err: undefined }),
  };
  return { clock, lines, ticker: new Ticker({ name: "sweeper", everyMs: 100, tick, clock, log }) };
}

test("steps never overlap, and calls made during a step share the next one", async () => {
  const running: PromiseWithResolvers<void>[] = [];
  let atOnce = 0;
  let most = 0;
  const { ticker } = setUp(async () => {
    most = Math.max(most, ++atOnce);
    const step = Promise.withResolvers<void>();
    running.push(step);
    await step.promise;
    atOnce--;
  });
  const first = ticker.tick();
  const during = [ticker.tick(), ticker.tick()];
  await turn();
  assert.equal(running.length, 1);
  running[0]?.resolve();
  await first;
  during.push(ticker.tick());
  await turn();
  assert.equal(running.length, 2);
  const later = ticker.tick();
  running[1]?.resolve();
  await Promise.all(during);
  await turn();
  running[2]?.resolve();
  await later;
  assert.deepEqual([running.length, most], [3, 1]);
});

test("the loop takes a step, rests, and stops in its rest when told to", async () => {
  let steps = 0;
  let seen: AbortSignal | undefined;
  const { clock, ticker } = setUp(async (signal) => {
    steps++;
    seen = signal;
  });
  const stop = new AbortController();
  const run = ticker.run(stop.signal);
  await clock.advance(0);
  assert.equal(steps, 1);
  await clock.advance(99);
  assert.equal(steps, 1);
  await clock.advance(201);
  assert.equal(steps, 4);
  assert.equal(seen, stop.signal);
  stop.abort();
  await run;
  assert.deepEqual([steps, clock.pendingTimers], [4, 0]);
});

test("a nudge cuts the rest short, and one given during a step is not lost", async () => {
  let steps = 0;
  const { clock, ticker } = setUp(async () => {
    if (++steps === 2) ticker.nudge();
  });
  const stop = new AbortController();
  const run = ticker.run(stop.signal);
  await clock.advance(0);
  assert.equal(steps, 1);
  ticker.nudge();
  await clock.advance(0);
  assert.equal(steps, 3);
  stop.abort();
  await run;
});

test("an error ends nothing: it is logged ever more seldom, and so is the recovery", async () => {
  let broken = true;
  const { clock, ticker, lines } = setUp(async () => {
    if (broken) throw new Error("no database");
  });
  await assert.rejects(ticker.tick(), /no database/);
  const stop = new AbortController();
  const run = ticker.run(stop.signal);
  await clock.advance(450);
  broken = false;
  await clock.advance(200);
  stop.abort();
  await run;
  assert.deepEqual(lines, [
    'sweeper failed {"failures":1}',
    'sweeper failed {"failures":2}',
    'sweeper failed {"failures":4}',
    'sweeper works again {"failures":5}',
  ]);
});
