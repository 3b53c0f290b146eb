import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { PayloadSchema } from "#libs/proto/legion/common/v1/payload_pb.ts";
import { TaskSpecSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { validate } from "#libs/rpc/validate.ts";
import { checkTaskData, isPlainlyValid } from "../../../services/dispatcher/core/task-check.ts";

// Mostly what is nearly right, so that both answers are common.
const text = (...examples: string[]) =>
  fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom(...examples) },
    { weight: 2, arbitrary: fc.string({ unit: "grapheme", maxLength: 300 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom("a\nb", "\u0000", "ü", "a\n", "x".repeat(64), "x".repeat(129), "x".repeat(257)),
    },
  );
const label = fc.record({ key: text("region", "a/b"), value: text("eu", "") });
const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
const second = { seconds: 1n };

const specArbitrary = fc
  .record({
    namespace: text("", "default", "a-1", "-a", "A"),
    taskId: text("", "t", "0197-ab", "with space"),
    capability: text("greet", "a.b/c_d-e", ""),
    user: text("", "ada"),
    traceparent: text("", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "G"),
    tracestate: text("", "a=b"),
    priority: fc.oneof(fc.constant(0), fc.integer({ min: -1_100, max: 1_100 })),
    whenLimited: fc.constantFrom(0, 0, 0, 1, 2, 9),
    taskData: seldom(fc.record({ contentType: text("", "application/json"), data: fc.uint8Array({ maxLength: 8 }) })),
    labels: seldom(fc.array(label, { maxLength: 70 })),
    requiredLabels: seldom(fc.array(label, { maxLength: 20 })),
    costs: seldom(
      fc.array(fc.record({ unit: text("tokens"), amount: fc.bigInt({ min: -5n, max: 10n ** 13n }) }), {
        maxLength: 18,
      }),
    ),
    runTime: seldom(fc.record({ seconds: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) })),
    executionTimeout: seldom(fc.constantFrom(second, { seconds: -1n }, { seconds: 9_999_999n })),
    retryPolicy: seldom(
      fc.constantFrom(
        { maxAttempts: 5 },
        { maxAttempts: 101 },
        { factor: 0.5 },
        { initialDelay: { seconds: 86_401n } },
      ),
    ),
  })
  .map((init) =>
    create(TaskSpecSchema, Object.fromEntries(Object.entries(init).filter(([, value]) => value !== undefined))),
  );

test("what is plainly valid is valid by the contract's own rules", () => {
  let plain = 0;
  fc.assert(
    fc.property(specArbitrary, (spec) => {
      if (!isPlainlyValid(spec)) return;
      plain++;
      validate(TaskSpecSchema, spec);
    }),
    { numRuns: 6_000 },
  );
  assert.ok(plain > 80, `only ${plain} of 6,000 were plainly valid: the check would be of no use`);
});

test("every task of the usual shape is plainly valid", () => {
  const spec = create(TaskSpecSchema, {
    namespace: "team-a",
    taskId: "0197f3a8-7b1e-7c3d-9e2f-1a2b3c4d5e6f",
    capability: "summarize/v2",
    user: "ada@example.org",
    priority: -7,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    taskData: { contentType: "application/json", data: Buffer.from("{}") },
  });
  assert.ok(isPlainlyValid(spec));
});

const limit = 1_000;
const check = (data: string | Uint8Array, contentType = "") =>
  checkTaskData(
    create(PayloadSchema, { contentType, data: typeof data === "string" ? Buffer.from(data) : data }),
    limit,
  );

test("every JSON object within the limit is taken, as it is written", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 }),
      fc.constantFrom("", " ", "\n\t"),
      (value, space) => {
        const bytes = Buffer.from(space + JSON.stringify(value, undefined, space.length) + space);
        const problem = check(bytes);
        assert.equal(problem?.reason, bytes.length > limit ? "TASK_DATA_TOO_LARGE" : undefined, problem?.message ?? "");
      },
    ),
  );
  assert.equal(checkTaskData(undefined, limit), undefined);
  assert.equal(check('{"a":1}', "application/json"), undefined);
  assert.equal(check(`{"a":"${"x".repeat(limit - 8)}"}`), undefined, "exactly the limit");
  // Bytes in the middle of a larger buffer, as they come off the wire.
  assert.equal(check(Buffer.from('xx{"a":1}xx').subarray(2, 9)), undefined);
});

test("what is no JSON object is refused, and the message says what it is", () => {
  const bom = "\ufeff";
  const table: [data: string | Uint8Array, says: RegExp][] = [
    ["", /empty/],
    ["null", /it is null/],
    ["[]", /an array/],
    ["1", /a number/],
    ['"x"', /a string/],
    ["true", /a boolean/],
    ["{", /not valid JSON/],
    ["{}x", /not valid JSON/],
    ["{}{}", /not valid JSON/],
    ["{'a':1}", /not valid JSON/],
    ['{"a":NaN}', /not valid JSON/],
    [`${bom}{}`, /not valid JSON/],
    [`${bom}${bom}{}`, /not valid JSON/],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), /not valid UTF-8/],
    // A lone surrogate, written as UTF-8 would be.
    [Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]), /not valid UTF-8/],
    [Buffer.from('{"a":1}', "utf16le"), /not valid/],
    ["\u0000", /not valid JSON/],
  ];
  for (const [data, says] of table) {
    const problem = check(data);
    assert.equal(problem?.reason, "TASK_DATA_NOT_OBJECT", String(data));
    assert.match(problem.message, says);
  }
  assert.match(check("{}", "text/plain")?.message ?? "", /text\/plain/);
  const large = check(`{"a":"${"x".repeat(limit)}"}`);
  assert.equal(large?.reason, "TASK_DATA_TOO_LARGE");
  assert.match(large.message, /1008 bytes; at most 1000/);
});

test("nesting as deep as the limit allows is an answer, not a crash", () => {
  const depth = 1_000_000;
  const data = Buffer.from(`{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`);
  assert.doesNotThrow(() => checkTaskData(create(PayloadSchema, { data }), data.length));
});
