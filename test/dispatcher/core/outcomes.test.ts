import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { OutcomeSchema, type Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { RetryPolicySchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { afterFailure, afterLoss, maxAttempts } from "../../../services/dispatcher/core/after-attempt.ts";
import { stateName } from "../../../services/dispatcher/core/task-state.ts";
import {
  decideFailure,
  decideLoss,
  decideOutcome,
  decideUnreceived,
  timedOut,
  type AttemptFacts,
  type Decision,
} from "../../../services/dispatcher/core/outcomes.ts";

const day = 86_400_000;
const policyArbitrary = fc.option(
  fc
    .record({
      maxAttempts: fc.integer({ min: 0, max: 100 }),
      initialMs: fc.option(fc.integer({ min: 0, max: day })),
      maxMs: fc.option(fc.integer({ min: 0, max: day })),
      factor: fc.oneof(fc.constant(0), fc.double({ min: 1, max: 100, noNaN: true })),
    })
    .map(({ maxAttempts: most, initialMs, maxMs, factor }) =>
      create(RetryPolicySchema, {
        maxAttempts: most,
        factor,
        ...(initialMs !== null && { initialDelay: durationFromMs(initialMs) }),
        ...(maxMs !== null && { maxDelay: durationFromMs(maxMs) }),
      }),
    ),
  { nil: undefined },
);
const attemptArbitrary = fc.integer({ min: 1, max: 100 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test("a retry waits as the policy says, less up to a quarter, never less than the agent asks for, never over a day", () => {
  fc.assert(
    fc.property(
      policyArbitrary,
      attemptArbitrary,
      random,
      fc.option(fc.integer({ min: 0, max: day }), { nil: undefined }),
      (policy, attempt, chance, asked) => {
        const failure = { retryable: true, retryDelay: asked === undefined ? undefined : durationFromMs(asked) };
        const next = afterFailure(failure, attempt, policy, chance);
        if (attempt >= maxAttempts(policy)) return assert.deepEqual(next, { kind: "dead" });
        assert.ok(next.kind === "retry");
        const initialMs = policy?.initialDelay
          ? Number(policy.initialDelay.seconds) * 1_000 + policy.initialDelay.nanos / 1e6
          : 1_000;
        const maxMs = policy?.maxDelay ? Number(policy.maxDelay.seconds) * 1_000 + policy.maxDelay.nanos / 1e6 : 60_000;
        const full = Math.min(maxMs, initialMs * (policy?.factor || 2) ** (attempt - 1));
        assert.ok(next.delayMs <= Math.max(full, asked ?? 0) + 1e-6);
        assert.ok(next.delayMs >= Math.max(full * 0.75, asked ?? 0) - 1e-6);
        assert.ok(next.delayMs <= day);
      },
    ),
  );
});

test("a failure that is not retryable ends the task at once; a lost agent costs an attempt but no rest", () => {
  assert.deepEqual(afterFailure({ retryable: false }, 1, undefined, 0), { kind: "failed" });
  assert.deepEqual(afterLoss(2, undefined), { kind: "retry", delayMs: 0 });
  assert.deepEqual(afterLoss(3, undefined), { kind: "dead" });
});

const facts = (more: Partial<AttemptFacts> = {}): AttemptFacts => ({
  attempt: 1,
  retryPolicy: undefined,
  cancelReason: undefined,
  ...more,
});
const completed = create(OutcomeSchema, { kind: { case: "completed", value: {} } });
const failed = (retryable: boolean): Outcome =>
  create(OutcomeSchema, { kind: { case: "failed", value: { code: "E", message: "m", retryable } } });
const canceled = create(OutcomeSchema, { kind: { case: "canceled", value: { reason: "stopped" } } });
const empty = create(OutcomeSchema);

const said = (decision: Decision): string =>
  decision.kind === "final"
    ? `${stateName(decision.state)} ${decision.outcome.kind.case}`
    : `again ${decision.attempts} ${decision.failure?.code ?? "-"}`;

test("what an attempt's end means for its task", () => {
  const asked = facts({ cancelReason: "please" });
  const last = facts({ attempt: 3 });
  const table: [string, Decision, string][] = [
    ["completed", decideOutcome(facts(), completed, 0), "COMPLETED completed"],
    ["completed although asked to cancel", decideOutcome(asked, completed, 0), "COMPLETED completed"],
    ["failed for good", decideOutcome(facts(), failed(false), 0), "FAILED failed"],
    ["failed, retryable", decideOutcome(facts(), failed(true), 0), "again 1 E"],
    ["failed, retryable, last attempt", decideOutcome(last, failed(true), 0), "DEAD failed"],
    ["failed after being asked to cancel", decideOutcome(asked, failed(true), 0), "CANCELED canceled"],
    ["canceled on request", decideOutcome(asked, canceled, 0), "CANCELED canceled"],
    ["canceled unasked", decideOutcome(facts(), canceled, 0), "again 1 CANCELED_BY_AGENT"],
    ["canceled unasked, last attempt", decideOutcome(last, canceled, 0), "DEAD failed"],
    ["nothing said", decideOutcome(facts(), empty, 0), "FAILED failed"],
    ["timed out", decideFailure(facts(), timedOut(5), 0), "again 1 EXECUTION_TIMEOUT"],
    ["timed out after being asked to cancel", decideFailure(asked, timedOut(5), 0), "CANCELED canceled"],
    ["agent lost", decideLoss(facts(), "it"), "again 1 AGENT_LOST"],
    ["agent lost, last attempt", decideLoss(last, "it"), "DEAD failed"],
    ["agent lost after being asked to cancel", decideLoss(asked, "it"), "CANCELED canceled"],
    ["never received", decideUnreceived(facts()), "again 0 -"],
    ["never received, last attempt", decideUnreceived(last), "again 2 -"],
    ["never received after being asked to cancel", decideUnreceived(asked), "CANCELED canceled"],
  ];
  for (const [name, decision, expected] of table) assert.equal(said(decision), expected, name);
});

test("whatever text an agent sends, what is kept of it is short and can be stored", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.nat({ max: 20_000 }), (text, padding) => {
      const failure = { code: text, message: "x".repeat(padding) + text, retryable: false };
      const outcome = create(OutcomeSchema, { kind: { case: "failed", value: failure } });
      const decision = decideOutcome(facts(), outcome, 0);
      assert.ok(decision.kind === "final" && decision.outcome.kind.case === "failed");
      const { value } = decision.outcome.kind;
      assert.ok(value.code.length > 0 && value.code.length <= 128 && value.message.length <= 16 * 1024);
      const stored = fromBinary(OutcomeSchema, toBinary(OutcomeSchema, decision.outcome));
      assert.equal(stored.kind.case, "failed");
    }),
  );
});
