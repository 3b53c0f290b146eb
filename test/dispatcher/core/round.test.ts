import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  planRound,
  settleRound,
  spread,
  type RoundGate,
  type RoundLane,
} from "../../../services/dispatcher/core/round.ts";

const rateGates = [1, 2, 3];
const slotGates = [11, 12];

const gatesOf = fc
  .tuple(
    fc.array(fc.record({ held: fc.nat(6), max: fc.option(fc.nat(8), { nil: undefined }) }), {
      minLength: 5,
      maxLength: 5,
    }),
    fc.array(fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 5_000 })), {
      minLength: 5,
      maxLength: 5,
    }),
  )
  .map(([facts, pauses]) => {
    const keys = [...rateGates, ...slotGates];
    return new Map<number, RoundGate>(
      keys.map((key, i) => [
        key,
        { held: key > 10 ? facts[i]!.held : 0, max: key > 10 ? facts[i]!.max : undefined, pauseMs: pauses[i]! },
      ]),
    );
  });

const lanesOf = fc
  .array(
    fc.record({
      isServed: fc.boolean(),
      rateGates: fc.subarray(rateGates),
      slotGates: fc.subarray(slotGates),
      tasks: fc.array(fc.record({ rank: fc.integer({ min: -2, max: 2 }), paid: fc.boolean() }), { maxLength: 8 }),
    }),
    { maxLength: 6 },
  )
  .map((lanes) => {
    let taskKey = 0;
    return lanes.map((lane, laneKey): RoundLane => {
      const tasks = lane.tasks.map(({ rank, paid }) => ({ rank, paid, taskKey: ++taskKey }));
      return { ...lane, laneKey, tasks: tasks.toSorted((a, b) => a.rank - b.rank || a.taskKey - b.taskKey) };
    });
  });

test("in each lane who goes on is a beginning of it, never more than there are slots, and nobody passes a pause", () => {
  fc.assert(
    fc.property(lanesOf, gatesOf, fc.infiniteStream(fc.boolean()), (lanes, gates, admits) => {
      const plan = planRound(lanes, gates);
      const asked: number[] = [];
      const { going, ends } = settleRound(plan, ({ task, lane }) => {
        asked.push(task.taskKey);
        assert.ok(!task.paid, "who has passed is not asked again");
        return admits.next().value === true ? undefined : { delayMs: 100, gateKey: lane.rateGates[0] ?? null };
      });
      for (const lane of lanes) {
        const keys = going.filter(({ lane: its }) => its === lane).map(({ task }) => task.taskKey);
        assert.deepEqual(
          keys,
          lane.tasks.slice(0, keys.length).map(({ taskKey }) => taskKey),
        );
        const isPaused = [...lane.rateGates, ...lane.slotGates].some((key) => gates.get(key)!.pauseMs > 0);
        if (isPaused || (lane.slotGates.length > 0 && !lane.isServed)) assert.equal(keys.length, 0);
        if (isPaused) {
          const end = ends.get(lane.laneKey)!;
          assert.equal(end.delayMs, gates.get(end.blockedBy!)!.pauseMs, "it is tried when the pause ends");
        }
        assert.ok(ends.has(lane.laneKey), "every lane is tried again");
      }
      for (const key of slotGates) {
        const { held, max } = gates.get(key)!;
        const taking = going.filter(({ lane }) => lane.slotGates.includes(key)).length;
        if (max !== undefined) assert.ok(taking <= Math.max(0, max - held), `${taking} of ${max} with ${held} held`);
      }
      // Rates are asked in the order of the whole round: who is older is asked first.
      const order = plan.candidates.map(({ task }) => task.taskKey);
      const positions = asked.map((taskKey) => order.indexOf(taskKey));
      assert.deepEqual(
        positions,
        positions.toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 2_000 },
  );
});

test("all that may go on goes on when nobody refuses", () => {
  fc.assert(
    fc.property(lanesOf, (lanes) => {
      const open = lanes.map((lane) => ({ ...lane, isServed: true }));
      const free: RoundGate = { held: 0, max: undefined, pauseMs: 0 };
      const gates = new Map([...rateGates, ...slotGates].map((key) => [key, free]));
      const { going } = settleRound(planRound(open, gates), () => undefined);
      assert.equal(
        going.length,
        open.reduce((sum, { tasks }) => sum + tasks.length, 0),
      );
    }),
    { numRuns: 300 },
  );
});

test("lanes that one gate turned away come back one after the other, within a second", () => {
  const ends = new Map(Array.from({ length: 50 }, (_, i) => [i, { delayMs: 200, blockedBy: i % 2 }]));
  ends.set(50, { delayMs: -1, blockedBy: 0 });
  const delays = [...spread(ends, (gate) => (gate === 0 ? 100 : 0))].map(([, { delayMs }]) => delayMs);
  assert.deepEqual(
    delays.filter((_, i) => i < 50 && i % 2 === 0).slice(0, 12),
    [200, 300, 400, 500, 600, 700, 800, 900, 1_000, 1_100, 1_200, 1_200],
  );
  assert.ok(delays.filter((_, i) => i < 50 && i % 2 === 1).every((ms) => ms === 200));
  assert.equal(delays[50], -1);
});
