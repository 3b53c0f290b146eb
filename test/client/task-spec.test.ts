import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { LegionError } from "#libs/client/errors.ts";
import { taskSpec } from "#libs/client/task-spec.ts";
import type { TaskOptions } from "#libs/client/task-spec.ts";

const data = Buffer.from("{}");

describe("taskSpec", () => {
  test("carries every option to its field", () => {
    const spec = taskSpec("t-1", "greet", data, {
      namespace: "acme",
      priority: -5,
      user: "ada",
      labels: { tier: "gold" },
      requiredLabels: { region: "eu" },
      runTime: new Date(1_900_000_000_123),
      executionTimeoutMs: 1_500,
      retryPolicy: { maxAttempts: 7, initialDelayMs: 0, maxDelayMs: 90_000, factor: 1.5 },
      costs: { llm_tokens: 1_200, "": 2n },
      whenLimited: "wait",
    });
    assert.deepEqual(
      [spec.taskId, spec.capability, spec.namespace, spec.priority, spec.user],
      ["t-1", "greet", "acme", -5, "ada"],
    );
    assert.deepEqual(
      spec.labels.map(({ key, value }) => [key, value]),
      [["tier", "gold"]],
    );
    assert.deepEqual(
      spec.requiredLabels.map(({ key, value }) => [key, value]),
      [["region", "eu"]],
    );
    assert.equal(spec.runTime && timestampMs(spec.runTime), 1_900_000_000_123);
    assert.equal(spec.executionTimeout && durationMs(spec.executionTimeout), 1_500);
    const { maxAttempts, initialDelay, maxDelay, factor } = spec.retryPolicy ?? {};
    assert.deepEqual(
      [maxAttempts, initialDelay && durationMs(initialDelay), maxDelay && durationMs(maxDelay), factor],
      [7, 0, 90_000, 1.5],
    );
    assert.deepEqual(
      spec.costs.map(({ unit, amount }) => [unit, amount]),
      [
        ["llm_tokens", 1_200n],
        ["", 2n],
      ],
    );
  });

  test("gives ids that sort by the time they were made at", () => {
    const first = taskSpec(undefined, "greet", data, {}).taskId;
    const second = taskSpec("", "greet", data, {}).taskId;
    assert.match(first, /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    assert.notEqual(first, second);
    assert.ok(first.slice(0, 13) <= second.slice(0, 13));
  });

  const refused: [string, TaskOptions, RegExp][] = [
    ["a priority that is no whole number", { priority: 1.5 }, /options cannot be sent/],
    ["NaN milliseconds", { executionTimeoutMs: Number.NaN }, /executionTimeoutMs must be a number of milliseconds/],
    ["no attempts", { retryPolicy: { maxAttempts: 0 } }, /from 1 to 100, but is 0/],
    ["half a cost", { costs: { tokens: 0.5 } }, /costs\.tokens must be a whole number/],
    ["a date that is none", { runTime: new Date("soon") }, /runTime is not a valid date/],
  ];
  for (const [what, options, message] of refused) {
    test(`refuses ${what}, before it could harm a frame`, () => {
      assert.throws(
        () => taskSpec(undefined, "greet", data, options),
        (error) => error instanceof LegionError && error.code === "INVALID_ARGUMENT" && message.test(error.message),
      );
    });
  }

  test("refuses ids and capabilities that are no text", () => {
    const lone = "half \ud800";
    assert.throws(() => taskSpec(lone, "greet", data, {}), /task_id holds half a character/);
    assert.throws(() => taskSpec("t", "", data, {}), /capability is empty/);
    assert.throws(() => taskSpec(7 as unknown as string, "greet", data, {}), /task_id must be a string/);
  });
});
