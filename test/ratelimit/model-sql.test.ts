import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { prepared } from "#libs/db/statement.ts";
import { testDatabase } from "../harness/postgres.ts";
import { leasedFrom } from "../../services/ratelimit/core/bucket.ts";
import { resetUs, remaining, waitUs, withExpired } from "../../services/ratelimit/core/rule.ts";
import { lease } from "../../services/ratelimit/sql/lease.ts";
import { pauseLimit } from "../../services/ratelimit/sql/pauses.ts";
import { peek } from "../../services/ratelimit/sql/peek.ts";
import { settle } from "../../services/ratelimit/sql/settle.ts";
import { Model } from "./model.ts";
import { acquireAt, acquisition, loadLimits, openStore, storeLimit } from "./store.ts";

const database = await testDatabase();
const pool = await openStore(database.connectionString);
after(async () => {
  await pool[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const runs = Number(process.env["RATELIMIT_SQL_TRACES"] ?? 60);
const startUs = 4_000_000_000_000_000n;
const seconds = (count: number) => ({ seconds: BigInt(count), nanos: 0 });
const bucket = (tokens: bigint, periodS: number, burst: bigint) =>
  ({ case: "tokenBucket", value: { tokens, period: seconds(periodS), burst } }) as const;
const window = (count: bigint, windowS: number) =>
  ({ case: "slidingWindow", value: { count, window: seconds(windowS) } }) as const;

const users = ["ann", "bob"];
const names = ["bucket", "window", "coarse"] as const;
/** What each limit is first, and what it may become. */
const kinds = {
  bucket: [bucket(7n, 3, 10n), bucket(5n, 2, 4n), bucket(3n, 1, 15n)],
  window: [window(9n, 3), window(4n, 5), window(12n, 2)],
  // Counted in slots: above a hundred.
  coarse: [window(120n, 4), window(105n, 3), window(20n, 3)],
} as const;

const user = fc.constantFrom(...users);
const name = fc.constantFrom(...names);
const small = fc.bigInt(0n, 12n);
const index = fc.nat(20);
const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant("acquire" as const),
      items: fc.array(fc.record({ user, cost: fc.bigInt(0n, 6n), reserves: fc.boolean() }), {
        minLength: 1,
        maxLength: 5,
      }),
      // In the coarse window too, where a task costs ten times as much.
      inOrder: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("lease" as const),
      user,
      name,
      want: small,
      back: fc.option(index),
      unspent: small,
      ageUs: fc.bigInt(0n, 2_000_000n),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("settle" as const), index, actual: fc.bigInt(0n, 9n) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("adjust" as const), index, reserved: small, actual: small }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant("pause" as const), user, name, us: fc.bigInt(0n, 3_000_000n) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("change" as const), name, to: fc.nat(2) }) },
);
const trace = fc.array(fc.record({ passUs: fc.bigInt(-100_000n, 1_800_000n), action }), {
  minLength: 1,
  maxLength: 25,
});

const endExpired = prepared("end_expired", "select end_expired_leases(array[$1::int8], array[$2], $3)");

let traces = 0;

test("SQL answers as the pure rules do, to the microsecond: windows, leases, settlements, pauses, order, changes", async () => {
  const refusals = new Set<string>();
  await fc.assert(
    fc.asyncProperty(trace, async (steps) => {
      const namespace = `trace-${++traces}`;
      const set = (limit: (typeof names)[number], to: number, atUs: bigint) =>
        storeLimit(
          pool,
          {
            namespace,
            name: limit,
            per: [{ kind: { case: "user", value: true } }],
            kind: kinds[limit][to]!,
            unit: limit === "coarse" ? "ten" : "",
          },
          atUs,
        );
      for (const limit of names) await set(limit, 0, startUs);
      await storeLimit(pool, { namespace, name: "at-once", kind: { case: "concurrency", value: { max: 0n } } });
      let limits = await loadLimits(pool);
      const model = new Model();
      const of = (limit: string, key: string) => {
        const stored = limits.find(namespace, limit)!;
        return { limitId: stored.limitId, bucket: model.bucket(limit, key, stored.rule!) };
      };
      const reservations: string[] = [];
      const leases: { id: bigint; limit: string; key: string }[] = [];
      let settlements = 0;
      let nowUs = startUs;
      for (const { passUs, action: step } of steps) {
        nowUs += passUs;
        switch (step.does) {
          case "acquire": {
            const items = step.items.map((item) => {
              const reservationId = item.reserves ? `${reservations.length}` : "";
              if (item.reserves) reservations.push(reservationId);
              const costs = [{ amount: item.cost }, { unit: "ten", amount: item.cost * 10n }];
              return acquisition({ namespace, user: item.user, costs, reservationId });
            });
            const expected = model.acquire(limits, items, nowUs, step.inOrder);
            const answers = await acquireAt(pool, limits, items, nowUs, step.inOrder);
            assert.deepEqual(
              answers.map((answer) => answer.waitUs),
              expected,
            );
            for (const { refusedBy } of answers) if (refusedBy) refusals.add(refusedBy.stored.limit.name);
            break;
          }
          case "lease": {
            const back = step.back === null ? undefined : leases.splice(step.back % Math.max(1, leases.length), 1)[0];
            const limit = back?.limit ?? step.name;
            const key = back?.key ?? step.user;
            const { limitId, bucket: modeled } = of(limit, key);
            const want = limit === "coarse" ? step.want * 10n : step.want;
            const wish = {
              limitId,
              key,
              returns: back?.id ?? 0n,
              unspent: step.unspent,
              lastUseAgeUs: step.ageUs,
              want,
            };
            const [grant] = await lease(pool, "h", [wish], 2_500_000n, nowUs);
            if (back !== undefined) modeled.endLease(back.id, step.unspent, nowUs - step.ageUs, nowUs);
            if (want === 0n) break;
            const expected = modeled.lease(grant!.lease_id, "h", want, 2_500_000n, nowUs);
            assert.deepEqual([grant!.granted, grant!.retry_us ?? undefined], [expected.granted, expected.retryUs]);
            if (grant!.granted > 0n) leases.push({ id: grant!.lease_id, limit, key });
            break;
          }
          case "settle": {
            const reservationId = reservations[step.index];
            if (reservationId === undefined) break;
            // One unit for all, so that the model need not know which limit has which.
            const costs = ["", "ten"].map((unit) => ({ unit, amount: step.actual }));
            await settle(pool, [{ namespace, reservationId, release: false, costs, adjustments: [] }], nowUs);
            model.settle(reservationId, step.actual, nowUs);
            break;
          }
          case "adjust": {
            const held = leases[step.index];
            if (held === undefined) break;
            const { reserved, actual } = step;
            const adjustments = [{ limit: held.limit, key: held.key, reserved, actual, leaseId: held.id }];
            const reservationId = `adjusted-${++settlements}`;
            await settle(pool, [{ namespace, reservationId, release: false, costs: [], adjustments }], nowUs);
            const { bucket: modeled } = of(held.limit, held.key);
            if (actual > reserved) modeled.charge(actual - reserved, nowUs);
            else if (actual < reserved) modeled.giveBackLeased(held.id, reserved - actual, nowUs);
            // As if somebody else returned it: it can be adjusted again after.
            if (step.index % 3 === 0) {
              const { limitId } = of(held.limit, held.key);
              const wish = { limitId, key: held.key, returns: held.id, unspent: 1n, lastUseAgeUs: 7n, want: 0n };
              await lease(pool, "h", [wish], 2_500_000n, nowUs);
              modeled.endLease(held.id, 1n, nowUs - 7n, nowUs);
            }
            break;
          }
          case "pause": {
            const untilUs = await pauseLimit(pool, { namespace, limit: step.name, key: step.user }, step.us, nowUs);
            const { bucket: modeled } = of(step.name, step.user);
            modeled.pause(step.us === 0n ? 0n : max(modeled.bucket.pauseUntilUs, nowUs + step.us));
            assert.equal(untilUs, modeled.bucket.pauseUntilUs);
            break;
          }
          case "change": {
            await set(step.name, step.to, nowUs);
            limits = await loadLimits(pool);
            const { rule } = limits.find(namespace, step.name)!;
            for (const key of users) of(step.name, key).bucket.change(rule!, nowUs);
            break;
          }
          default:
            throw step satisfies never;
        }
        for (const limit of names) {
          for (const key of users) {
            const stored = limits.find(namespace, limit)!;
            const rule = stored.rule!;
            const [seen] = (await peek(pool, limits.revision, [{ stored, key }], nowUs))!.buckets;
            const { bucket: modeled } = of(limit, key);
            modeled.expire(nowUs);
            const facts = (each: typeof modeled.bucket) => ({
              remaining: remaining(each, rule, nowUs),
              resetUs: resetUs(each, rule, nowUs),
              waitUs: waitUs(each, rule, 3n, nowUs),
              leased: leasedFrom(each),
              shiftUs: each.shiftUs,
            });
            assert.deepEqual(facts(withExpired(seen!, rule, nowUs)), facts(modeled.bucket), `${limit} ${key}`);
            // Looking has ended what had expired in the model: so in the table, in case the clock goes back behind that.
            await pool.run(endExpired, [stored.limitId, key, nowUs]);
          }
        }
      }
    }),
    { numRuns: runs },
  );
  assert.deepEqual([...refusals].toSorted(), ["bucket", "coarse", "window"]);
});

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
