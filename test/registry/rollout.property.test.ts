import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  admit,
  advance,
  bar,
  defaultPolicy,
  promote,
  type Refusal,
  setWeight,
  type VersionState,
  withWeights,
} from "../../services/registry/core/rollout.ts";

const names = ["1", "2", "3", "4"];
const version = fc.constantFrom(...names);
const step = fc.oneof(
  fc.record({ do: fc.constant("come" as const), version, kind: fc.constantFrom("canary", "immediate", "manual") }),
  fc.record({ do: fc.constant("go" as const), version }),
  fc.record({ do: fc.constant("advance" as const), version }),
  fc.record({ do: fc.constant("promote" as const), version }),
  fc.record({ do: fc.constant("weigh" as const), version, weight: fc.constantFrom(0, 1, 50, 100, 1_000) }),
  fc.record({
    do: fc.constant("bar" as const),
    version,
    incidentId: fc.constantFrom("", "i"),
    notTo: fc.subarray(names),
  }),
);

const isLive = ({ sessions }: VersionState) => sessions > 0;
const fresh = (name: string, firstSeenMs: number): VersionState => ({
  version: name,
  stage: "new",
  weight: 100,
  revision: 0n,
  trial: 1,
  reason: "",
  incidentId: "",
  byHand: false,
  sessions: 1,
  firstSeenMs,
  promotedMs: undefined,
});

test("in any history somebody who may work has the work, what is barred stays so, and sessions decide nothing", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let versions: VersionState[] = [];
      let nowMs = 0;
      const take = (answer: VersionState[] | Refusal): boolean => {
        if (typeof answer === "string") return false;
        versions = answer;
        return true;
      };
      for (const one of steps) {
        nowMs++;
        const before = versions;
        const own = versions.find((known) => known.version === one.version);
        switch (one.do) {
          case "come": {
            const policy = { ...defaultPolicy, kind: one.kind as "canary" };
            if (own === undefined) take(admit([...versions, fresh(one.version, nowMs)], one.version, policy, nowMs));
            else take(withWeights(versions.map((known) => (known === own ? { ...known, sessions: 1 } : known))));
            break;
          }
          case "go":
            take(withWeights(versions.map((known) => (known === own ? { ...known, sessions: 0 } : known))));
            break;
          case "advance": {
            const how = { revision: own?.revision ?? 0n, reason: "", policy: defaultPolicy, nowMs };
            if (take(advance(versions, one.version, how))) assert.equal(own?.stage, "canary");
            break;
          }
          case "promote":
            if (take(promote(versions, one.version, nowMs))) {
              const now = versions.find((known) => known.version === one.version);
              assert.deepEqual([now?.stage, now?.trial], ["current", (own?.trial ?? 0) + 1]);
            }
            break;
          case "weigh":
            if (!take(setWeight(versions, one.version, one.weight)))
              assert.ok(own === undefined || own.stage === "barred");
            break;
          case "bar": {
            const { incidentId, notTo } = one;
            const how = { reason: "", incidentId, revision: 0n, notTo, force: false };
            if (!take(bar(versions, one.version, how, nowMs)) || own?.stage === "barred") break;
            const heirs = versions.filter((known) => isLive(known) && known.weight > 0 && known.stage !== "barred");
            // What a person has set may leave the current version nothing, and then there is nothing to take over.
            const hadNothing = own?.stage === "current" && own.weight === 0;
            assert.ok(hadNothing || heirs.some((known) => !notTo.includes(known.version)), "somebody fit goes on");
            break;
          }
          default:
            throw one satisfies never;
        }
        assert.ok(versions.filter(({ stage }) => stage === "current").length <= 1, "one current version at most");
        assert.deepEqual(withWeights(versions), versions, "settled");
        for (const known of versions) {
          const was = before.find((other) => other.version === known.version);
          if (known.stage === "barred") assert.equal(known.weight, 0);
          if (was?.stage === "barred" && known.stage !== "barred") assert.equal(one.do, "promote");
          if (one.do === "go" || (one.do === "come" && was !== undefined && own !== undefined)) {
            assert.deepEqual([known.stage, known.revision], [was?.stage, was?.revision], "sessions decide nothing");
          }
        }
        const able = versions.filter(
          (known) => isLive(known) && (known.stage === "current" || known.stage === "standby"),
        );
        const working = versions.filter((known) => isLive(known) && known.weight > 0);
        assert.ok(able.length === 0 || working.length > 0, "work waits while somebody could do it");
      }
    }),
    { numRuns: 3_000 },
  );
});
