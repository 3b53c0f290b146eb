import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { progressText, summaryText } from "#libs/cli/progress-bar.ts";
import { renderJson } from "#libs/cli/render-json.ts";
import { facts, table } from "#libs/cli/table.ts";
import { oneLine, printable } from "#libs/cli/terminal.ts";
import { agoText, lengthText } from "#libs/cli/time-text.ts";
import { GetMetricsResponseSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskSchema, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

describe("renderJson", () => {
  test("uses the proto's names, short states, and what payloads hold", () => {
    const task = create(TaskSchema, {
      taskId: "t-1",
      state: TaskState.LEASED,
      attempt: 2,
      submitTime: timestampFromMs(1_900_000_000_500),
      executionTimeout: durationFromMs(1_500),
      taskData: { data: Buffer.from('{"big":12345678901234567890,"half":1.50}') },
      labels: [{ key: "tier", value: "gold" }],
      outcome: {
        kind: { case: "completed", value: { result: { contentType: "image/png", data: Buffer.from([1, 2]) } } },
      },
    });
    const json = JSON.stringify(renderJson(TaskSchema, task));
    assert.match(
      json,
      /"task_data":\{"content_type":"application\/json","data":\{"big":12345678901234567890,"half":1.50\}\}/,
    );
    const parsed = JSON.parse(json) as Record<string, unknown>;
    assert.deepEqual(
      [parsed["task_id"], parsed["state"], parsed["attempt"], parsed["submit_time"], parsed["execution_timeout"]],
      ["t-1", "LEASED", 2, "2030-03-17T17:46:40.500Z", "1.500s"],
    );
    assert.deepEqual(parsed["labels"], [{ key: "tier", value: "gold" }]);
    assert.deepEqual(parsed["outcome"], {
      completed: { result: { content_type: "image/png", encoding: "base64", data: "AQI=" } },
    });
    assert.equal(parsed["agent_id"], "", "a field without a value is there, so that scripts find it");
    assert.equal("run_time" in parsed, false, "an absent message is not");
  });

  test("shows a state that is newer than this program as its number", () => {
    assert.equal(renderJson(TaskSchema, create(TaskSchema, { state: 99 as TaskState }))["state"], "99");
  });

  test("gives counters as numbers, up to what a number can hold", () => {
    const metrics = renderJson(
      GetMetricsResponseSchema,
      create(GetMetricsResponseSchema, { totalAgents: 3n, tasksDead: 2n ** 60n }),
    );
    assert.deepEqual(
      [metrics["total_agents"], metrics["active_agents"], metrics["tasks_dead"]],
      [3, 0, String(2n ** 60n)],
    );
  });
});

describe("tables", () => {
  test("are aligned, and the flexible column gives way", () => {
    const columns = [{ title: "TASK" }, { title: "N", align: "right" }, { title: "WHAT", flexible: true }] as const;
    const rows = [
      ["t-1", "7", "short"],
      ["t-22", "1,234", "x".repeat(100)],
    ];
    assert.deepEqual(table(columns, rows, 40), [
      "TASK      N  WHAT",
      "t-1       7  short",
      `t-22  1,234  ${"x".repeat(26)}…`,
    ]);
    assert.ok(table(columns, rows).at(-1)?.endsWith("xxx"), "nothing is cut where nobody looks");
  });

  test("facts leave out what has no value", () => {
    assert.deepEqual(
      facts([
        ["a", "1"],
        ["long", undefined],
        ["bb", ""],
        ["ccc", "3"],
      ]),
      ["a    1", "ccc  3"],
    );
  });
});

describe("what comes from elsewhere", () => {
  test("cannot move the cursor", () => {
    assert.equal(printable("a\u001b[2Jb\rc\nd\te"), "a\\x1b[2Jb\\x0dc\nd\te");
    assert.equal(oneLine(" a\n\tb\u0007 "), "a b\\x07");
  });
});

describe("times", () => {
  test("are short", () => {
    const at = timestampFromMs(1_000_000);
    const said = [1_000_400, 1_003_000, 1_090_000, 9_000_000, 300_000_000, 995_000].map((now) => agoText(at, now));
    assert.deepEqual(said, ["now", "3 s ago", "1 min ago", "2 h ago", "3 d ago", "in 5 s"]);
    assert.equal(agoText(undefined, 0), "");
    assert.equal(lengthText(12.4), "12 ms");
  });
});

describe("progress", () => {
  test("has a bar and an ETA where the size is known", () => {
    assert.equal(
      progressText({ done: 8_000, failed: 200, elapsedMs: 2_000, fraction: 0.41 }),
      "[########            ]  41 %  8,000 done  4,100/s  200 failed  ETA 2 s",
    );
    assert.equal(progressText({ done: 10, failed: 0, elapsedMs: 100, fraction: undefined }), "10 done  100/s");
    assert.equal(
      summaryText({ done: 20_000, failed: 0, elapsedMs: 3_200, fraction: 1 }),
      "20,000 done, 0 failed, 3.2 s, 6,250/s",
    );
  });
});
