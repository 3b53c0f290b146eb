import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MatchedSession } from "../../../services/dispatcher/core/matched-session.ts";
import { Matcher } from "../../../services/dispatcher/core/matcher.ts";
import type { LabelPair } from "../../../services/dispatcher/core/route.ts";

interface Session extends MatchedSession {
  readonly id: number;
}

const capabilities = ["a", "b", "c"];
const labelSets: LabelPair[][] = [
  [],
  [["zone", "x"]],
  [["zone", "y"]],
  [
    ["zone", "x"],
    ["gpu", ""],
  ],
];

const sessionArbitrary = fc.record({
  namespace: fc.constantFrom("n1", "n2"),
  version: fc.constantFrom("v1", "v2", "v3"),
  labels: fc.constantFrom(...labelSets),
  capabilities: fc.dictionary(fc.constantFrom(...capabilities), fc.integer({ min: 0, max: 2 }), { minKeys: 1 }),
  slots: fc.integer({ min: 0, max: 3 }),
  weight: fc.constantFrom(0, 1, 100),
});

const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("add" as const), session: sessionArbitrary }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("take" as const),
      namespace: fc.constantFrom("n1", "n2"),
      capability: fc.constantFrom(...capabilities),
      required: fc.constantFrom(...labelSets),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("release" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), which: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("change" as const),
      which: fc.nat(),
      slots: fc.integer({ min: 0, max: 3 }),
      weight: fc.constantFrom(0, 1, 100),
    }),
  },
);

/** What the matcher must agree with, written without any of its bookkeeping. */
class Model {
  readonly sessions = new Map<number, Session>();
  readonly taken: { readonly session: Session; readonly capability: string }[] = [];

  takenBy(session: Session, capability?: string): number {
    return this.taken.filter((one) => one.session === session && (capability ?? one.capability) === one.capability)
      .length;
  }

  isFree(session: Session, namespace: string, capability: string, required: readonly LabelPair[]): boolean {
    const own = session.capabilities.get(capability);
    return (
      session.namespace === namespace &&
      own !== undefined &&
      session.weight > 0 &&
      required.every(([key, value]) => session.labels.get(key) === value) &&
      this.takenBy(session) < session.slots &&
      (own === 0 || this.takenBy(session, capability) < own)
    );
  }
}

test("in any history a task gets a free matching slot whenever there is one, and never any other", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (steps, chance) => {
        const matcher = new Matcher<Session>(() => chance.next().value ?? 0);
        const model = new Model();
        let id = 0;
        for (const one of steps) {
          switch (one.do) {
            case "add": {
              const { labels, version, ...rest } = one.session;
              const session: Session = {
                ...rest,
                id: id++,
                versionName: version,
                labels: new Map(labels),
                capabilities: new Map(Object.entries(rest.capabilities)),
                taken: new Map(),
                takenInAll: 0,
              };
              model.sessions.set(session.id, session);
              matcher.add(session);
              break;
            }
            case "take": {
              const { namespace, capability, required } = one;
              const free = [...model.sessions.values()].filter((s) => model.isFree(s, namespace, capability, required));
              const taken = matcher.take(namespace, capability, required);
              if (free.length === 0) assert.equal(taken, undefined);
              else assert.ok(taken !== undefined && free.includes(taken), `${free.length} slots are free`);
              if (taken !== undefined) {
                model.taken.push({ session: taken, capability });
              } else if (required.length === 0) {
                assert.equal(matcher.hasFree(namespace, capability), false, "after a look in vain nothing is free");
              }
              break;
            }
            case "release": {
              const [released] = model.taken.splice(one.which % Math.max(1, model.taken.length), 1);
              if (released) matcher.release(released.session, released.capability);
              break;
            }
            case "remove": {
              const session = [...model.sessions.values()][one.which % Math.max(1, model.sessions.size)];
              if (!session) break;
              model.sessions.delete(session.id);
              matcher.remove(session);
              break;
            }
            case "change": {
              const session = [...model.sessions.values()][one.which % Math.max(1, model.sessions.size)];
              if (!session) break;
              session.slots = one.slots;
              session.weight = one.weight;
              matcher.changed(session);
              break;
            }
            default:
              throw one satisfies never;
          }
          const all = [...model.sessions.values()];
          assert.deepEqual(matcher.totals(), {
            slots: all.reduce((sum, session) => sum + session.slots, 0),
            taken: all.reduce((sum, session) => sum + model.takenBy(session), 0),
          });
          for (const namespace of ["n1", "n2"]) {
            for (const capability of capabilities) {
              const offers = all.some((s) => s.namespace === namespace && s.capabilities.has(capability));
              assert.equal(matcher.offers(namespace, capability), offers);
            }
          }
        }
      },
    ),
    { numRuns: 600 },
  );
});

test("of many sessions with few slots and different labels the one that fits is found wherever the last look ended", () => {
  const required: LabelPair[][] = [[], [["zone", "x"]], [["zone", "y"]]];
  const act = fc.record({ release: fc.boolean(), which: fc.nat(), required: fc.constantFrom(...required) });
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("x", "y", ""), { maxLength: 8 }),
      fc.array(act, { maxLength: 60 }),
      (zones, acts) => {
        const matcher = new Matcher<MatchedSession>();
        const sessions = zones.map((zone) => ({ ...session("v", 1, 1), labels: new Map([["zone", zone]]) }));
        for (const one of sessions) matcher.add(one);
        for (const { release, which, required: labels } of acts) {
          const busy = sessions.filter(({ takenInAll }) => takenInAll > 0);
          if (release && busy.length > 0) {
            matcher.release(busy[which % busy.length]!, "a");
            continue;
          }
          const fits = sessions.some(
            (one) => one.takenInAll === 0 && labels.every(([key, value]) => one.labels.get(key) === value),
          );
          assert.equal(matcher.take("n", "a", labels) !== undefined, fits);
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

const session = (versionName: string, weight: number, slots = 1_000_000): MatchedSession => ({
  namespace: "n",
  versionName,
  weight,
  slots,
  labels: new Map(),
  capabilities: new Map([["a", 0]]),
  taken: new Map(),
  takenInAll: 0,
});

test("versions share by weight however many sessions each has, and sessions of a version take turns", () => {
  const matcher = new Matcher<MatchedSession>();
  const old = Array.from({ length: 5 }, () => session("old", 90));
  const fresh = session("new", 10);
  for (const one of [...old, fresh]) matcher.add(one);
  const tasks = 20_000;
  for (let i = 0; i < tasks; i++) assert.ok(matcher.take("n", "a", []));
  // A tenth of 20,000 has a standard deviation of 42.
  assert.ok(Math.abs(fresh.takenInAll - tasks / 10) < 300, `the new version got ${fresh.takenInAll}`);
  const turns = old.map(({ takenInAll }) => takenInAll);
  assert.ok(Math.max(...turns) - Math.min(...turns) <= 1, String(turns));
});

test("a change of weight holds for sessions that are listed and for those that become free later", () => {
  const matcher = new Matcher<MatchedSession>();
  const [full, free] = [session("v", 1, 1), session("v", 1, 1)];
  matcher.add(full);
  assert.equal(matcher.take("n", "a", []), full);
  matcher.add(free);
  for (const one of [full, free]) {
    one.weight = 0;
    matcher.changed(one);
  }
  matcher.release(full, "a");
  assert.equal(matcher.take("n", "a", []), undefined);
});
