import assert from "node:assert/strict";
import type { LegionError, TaskFailedError } from "#libs/client/index.ts";
import type { Behaviour, Trial } from "../trial.ts";

const mebibyte = 1024 * 1024;

async function comesBack(trial: Trial, data: object): Promise<void> {
  await trial.agent({ capabilities: ["echo"] });
  assert.deepEqual(await trial.run("echo", data), data);
}

function nested(depth: number): object {
  let value: object = { bottom: [] };
  for (let level = 1; level < depth; level++) value = level % 2 === 0 ? { level, value } : { list: [value] };
  return value;
}

/** A JSON object of exactly so many bytes. */
const ofBytes = (bytes: number, given: object = {}): object => {
  const empty = JSON.stringify({ ...given, text: "" }).length;
  return { ...given, text: "x".repeat(bytes - empty) };
};

export const data: Behaviour[] = [
  { name: "carries an empty object", run: (trial) => comesBack(trial, {}) },
  {
    name: "carries null, empty lists, booleans",
    run: (trial) =>
      comesBack(trial, { nothing: null, none: [], empty: {}, text: "", yes: true, no: false, in: [null] }),
  },
  {
    name: "carries Unicode",
    run: (trial) =>
      comesBack(trial, {
        "ключ 🗝": 'straße 漢字 🦉👩‍👩‍👧 \u0000\u001f\u007f\u2028\u2029\ufeff "\\/ e\u0301 \u202eرجل',
        list: ["\u{10ffff}", "\ud7ff\ue000\uffff", "<script>&amp;</script>"],
      }),
  },
  { name: "carries JSON 100 levels deep", run: (trial) => comesBack(trial, nested(100)) },
  {
    name: "carries numbers exactly",
    run: (trial) =>
      comesBack(trial, {
        largest: Number.MAX_SAFE_INTEGER,
        smallest: Number.MIN_SAFE_INTEGER,
        int32: [2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 32],
        fractions: [0.1, 0.30000000000000004, 1 / 3, -2.5, 5e-324, 1.7976931348623157e308, 1e21, 1.5e-7],
        zero: 0,
      }),
  },
  {
    name: "takes 2 MiB, gives 2 MiB, several at once",
    async run(trial) {
      const agent = await trial.agent();
      // What an agent writes anew may be a few bytes longer than what it read.
      const large = ofBytes(2 * mebibyte - 64);
      const exact = ofBytes(2 * mebibyte, { ms: 1 });
      const results = await Promise.all([
        trial.run("echo", large),
        trial.run("echo", large),
        trial.run("sleep", exact),
        trial.run("fill", { bytes: 2 * mebibyte - 64 }),
      ]);
      assert.deepEqual(results, [large, large, { slept: 1 }, { fill: "x".repeat(2 * mebibyte - 64) }]);
      assert.equal(agent.all("connected").length, 1);
    },
  },
  {
    name: "fails a result that is too large, and lives on",
    async run(trial) {
      const agent = await trial.agent();
      // The second would break the stream by its size alone.
      for (const bytes of [2 * mebibyte, 40 * mebibyte]) {
        await assert.rejects(trial.run("fill", { bytes }, once), (error: TaskFailedError) => {
          assert.equal(error.code, "RESULT_TOO_LARGE", error.message);
          return true;
        });
      }
      assert.deepEqual(await trial.run("echo", { still: "here" }), { still: "here" });
      assert.equal(agent.all("connected").length, 1, "on the same stream");
    },
  },
  {
    name: "is not sent what is too large",
    async run(trial) {
      const agent = await trial.agent({ capabilities: ["echo"] });
      await assert.rejects(trial.run("echo", ofBytes(2 * mebibyte + 1)), (error: LegionError) => {
        assert.deepEqual([error.code, error.reason], ["INVALID_ARGUMENT", "TASK_DATA_TOO_LARGE"]);
        return true;
      });
      await trial.run("echo", {});
      assert.equal(agent.all("begin").length, 1);
    },
  },
];

const once = { retryPolicy: { maxAttempts: 1 } };
