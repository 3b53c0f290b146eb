import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  AssignmentSchema,
  AttemptOutcomeSchema,
  AttemptProgressSchema,
  CancelAttemptSchema,
  ConnectRequestSchema,
  WelcomeSchema,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { AwakeTime } from "../../services/registry/core/awake-time.ts";
import { checkFirstFrame, checkFrame, FrameNumbers } from "../../services/registry/core/check-frame.ts";
import { checkOutcome, checkProgress, cut } from "../../services/registry/core/check-outcome.ts";
import { chooseHome } from "../../services/registry/core/choose-home.ts";
import { frameBytes, frameItems, Outbox } from "../../services/registry/core/outbox.ts";
import { Session } from "../../services/registry/core/session.ts";
import { Violation } from "../../services/registry/core/violation.ts";

const limits = { heartbeatIntervalMs: 1_000, leaseMs: 10_000, maxResultBytes: 100 };
const newSession = (): Session => {
  const profile = { namespace: "default", agentId: "a", name: "a", version: "0", capabilities: [], labels: [] };
  const session = new Session("s", { ...profile, sdk: "", resumable: true }, 10, 100, limits, 0);
  session.greeted(create(ConnectRequestSchema, {}), create(WelcomeSchema));
  return session;
};
const heartbeat = (ack: bigint) => create(ConnectRequestSchema, { ack, heartbeat: {} });

describe("liveness", () => {
  test("a session lives for a lease from the last frame, whatever that carried", () => {
    const session = newSession();
    assert.equal(session.due(10_000, 0), "heartbeat");
    assert.equal(session.due(10_001, 0), "expired");
    session.receive(create(ConnectRequestSchema, {}), 10_001);
    assert.notEqual(session.due(20_001, 0), "expired");
    assert.equal(session.due(20_002, 0), "expired");
  });

  test("one that hears nothing is ended however it heartbeats, and one that is behind is not", () => {
    const deaf = newSession();
    const slow = newSession();
    deaf.nextFrame(0);
    slow.nextFrame(0);
    for (let nowMs = 1_000; nowMs <= 30_000; nowMs += 1_000) {
      deaf.receive(heartbeat(0n), nowMs);
      slow.nextFrame(nowMs);
      slow.receive(heartbeat(BigInt(nowMs / 1_000)), nowMs);
      assert.equal(deaf.due(nowMs, 0) === "deaf", nowMs > 10_000, `at ${nowMs}`);
      assert.equal(slow.due(nowMs, 0), "nothing");
    }
  });

  test("what we do not read is not held against it", () => {
    const session = newSession();
    session.nextFrame(0);
    session.readingPaused = true;
    assert.equal(session.due(60_000, 0), "heartbeat");
    session.readingResumed(60_000);
    assert.equal(session.due(70_000, 0), "heartbeat");
    assert.equal(session.due(70_001, 0), "expired");
  });

  test("a heartbeat is due before the interval is over, and only when nothing else was sent", () => {
    const session = newSession();
    session.nextFrame(500);
    assert.equal(session.due(1_250, 250), "nothing");
    assert.equal(session.due(1_251, 250), "heartbeat");
    const frame = session.nextFrame(1_251);
    assert.ok(frame.heartbeat);
    assert.equal(session.due(1_300, 250), "nothing");
  });

  test("while this process stood still nobody's lease ran", () => {
    const awake = new AwakeTime(250, 0);
    for (let at = 250; at <= 1_000; at += 250) assert.equal(awake.tick(at), 0);
    assert.equal(awake.at(1_100), 1_100);
    assert.equal(awake.at(30_000), 1_500, "not yet known, but not counted");
    assert.equal(awake.tick(30_000), 28_500);
    assert.equal(awake.at(30_100), 1_600);
  });
});

describe("frames", () => {
  const violation = (field: string, reason: string) => (error: unknown) => {
    assert.ok(error instanceof Violation);
    assert.deepEqual([error.field, error.reason], [field, reason]);
    return true;
  };

  test("the first one says hello, and nothing that must wait", () => {
    const hello = { agentId: "a", capabilities: [{ name: "x" }] };
    const check = (frame: Parameters<typeof create<typeof ConnectRequestSchema>>[1]) => () =>
      checkFirstFrame(create(ConnectRequestSchema, frame));
    assert.throws(check({}), violation("hello", "HELLO_EXPECTED"));
    assert.throws(check({ hello, seq: 2n }), violation("seq", "PROTOCOL_VIOLATION"));
    assert.throws(check({ hello, ack: 1n }), violation("ack", "PROTOCOL_VIOLATION"));
    assert.throws(check({ hello, outcomes: [{}] }), violation("outcomes", "PROTOCOL_VIOLATION"));
    const twice = { agentId: "a", capabilities: [{ name: "x" }, { name: "y" }, { name: "x" }] };
    assert.throws(check({ hello: twice }), violation("hello.capabilities[2].name", "INVALID_REQUEST"));
    assert.equal(check({ hello, seq: 1n })().agentId, "a");
  });

  test("the others keep the bounds", () => {
    const check = (frame: Parameters<typeof create<typeof ConnectRequestSchema>>[1]) => () =>
      checkFrame(create(ConnectRequestSchema, frame));
    const many = Array.from({ length: 1_001 }, () => ({}));
    assert.throws(check({ hello: {} }), violation("hello", "HELLO_REPEATED"));
    assert.throws(check({ outcomes: many }), violation("outcomes", "INVALID_REQUEST"));
    assert.throws(check({ progress: many }), violation("progress", "INVALID_REQUEST"));
    assert.throws(check({ setSlots: { slots: 100_001 } }), violation("set_slots.slots", "INVALID_REQUEST"));
    assert.throws(check({ drain: { reason: "é".repeat(513) } }), violation("drain.reason", "INVALID_REQUEST"));
    check({ outcomes: many.slice(1), progress: many.slice(1), setSlots: { slots: 100_000 }, drain: {} })();
  });

  test("are numbered without gaps, or not at all", () => {
    const numbered = new FrameNumbers();
    for (const seq of [1n, 2n, 3n]) numbered.next(seq);
    for (const seq of [3n, 5n, 0n]) assert.throws(() => numbered.next(seq), violation("seq", "PROTOCOL_VIOLATION"));
    const unnumbered = new FrameNumbers();
    for (const seq of [0n, 0n]) unnumbered.next(seq);
    assert.equal(unnumbered.received, 2);
    assert.throws(() => unnumbered.next(3n), violation("seq", "PROTOCOL_VIOLATION"));
  });

  test("an acknowledgement of what was never sent is a violation; one that goes back is none", () => {
    const session = newSession();
    session.nextFrame(0);
    session.nextFrame(0);
    session.receive(heartbeat(2n), 0);
    session.receive(heartbeat(1n), 0);
    assert.throws(() => session.receive(heartbeat(3n), 0), violation("ack", "PROTOCOL_VIOLATION"));
    assert.throws(() => session.receive(heartbeat(2n ** 64n - 1n), 0), violation("ack", "PROTOCOL_VIOLATION"));
  });

  test("carry at most 256 items and about 1 MiB, and everything once and in order", () => {
    const size = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 700_000 }));
    fc.assert(
      fc.property(fc.array(size, { maxLength: 600, size: "max" }), fc.nat({ max: 300 }), (sizes, cancels) => {
        const outbox = new Outbox();
        const shared = new Uint8Array(700_000);
        const assignments = sizes.map((bytes, index) =>
          create(AssignmentSchema, { taskId: `t${index}`, attempt: 1, taskData: { data: shared.subarray(0, bytes) } }),
        );
        outbox.assign(assignments.slice(0, 10));
        outbox.assign(assignments.slice(10));
        outbox.cancel(Array.from({ length: cancels }, (_, i) => create(CancelAttemptSchema, { taskId: `c${i}` })));
        const seen: string[] = [];
        while (outbox.length > 0) {
          const parcel = outbox.take();
          const items = parcel.assignments.length + parcel.cancels.length;
          assert.ok(items > 0 && items <= frameItems);
          const bytes = parcel.assignments.reduce((sum, { taskData }) => sum + (taskData?.data.length ?? 0), 0);
          assert.ok(bytes <= frameBytes || parcel.assignments.length === 1, `${bytes} bytes`);
          seen.push(...parcel.assignments.map(({ taskId }) => taskId));
        }
        assert.deepEqual(
          seen,
          assignments.map(({ taskId }) => taskId),
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe("outcomes", () => {
  const answer = (kind: object, more: object = {}) =>
    create(AttemptOutcomeSchema, { outcome: { kind } as never, ...more });

  test("one that says nothing, or too much, cannot be recorded", () => {
    assert.equal(checkOutcome(create(AttemptOutcomeSchema, {}), 100)?.code, "INVALID_OUTCOME");
    assert.equal(checkOutcome(create(AttemptOutcomeSchema, { outcome: {} }), 100)?.code, "INVALID_OUTCOME");
    const result = (length: number) =>
      answer({ case: "completed", value: { result: { data: new Uint8Array(length) } } });
    assert.equal(checkOutcome(result(100), 100), undefined);
    const failure = checkOutcome(result(101), 100);
    assert.equal(failure?.code, "RESULT_TOO_LARGE");
    assert.match(failure.message, /101 bytes.*100/);
    const details = { case: "failed", value: { details: { data: new Uint8Array(101) } } };
    assert.equal(checkOutcome(answer(details), 100)?.code, "RESULT_TOO_LARGE");
    const typed = { case: "completed", value: { result: { contentType: "x".repeat(129) } } };
    assert.equal(checkOutcome(answer(typed), 100)?.code, "INVALID_OUTCOME");
  });

  test("what is too long is cut, what cannot be is left out, what is right stays", () => {
    const value = { code: "", message: "é".repeat(10_000), retryDelay: { seconds: 86_401n } };
    const failed = answer({ case: "failed", value });
    assert.equal(checkOutcome(failed, 100), undefined);
    assert.ok(failed.outcome?.kind.case === "failed");
    assert.equal(failed.outcome.kind.value.code, "ERROR");
    assert.equal(failed.outcome.kind.value.message, "é".repeat(8_192));
    assert.equal(failed.outcome.kind.value.retryDelay, undefined);

    const kind = { case: "completed", value: {} };
    for (const stats of [
      { duration: { seconds: -1n } },
      { duration: { nanos: -1 } },
      { memoryBeforeBytes: -1n },
      { costs: Array.from({ length: 17 }, () => ({})) },
      { costs: [{ unit: "a b" }] },
      { costs: [{ amount: -1n }] },
    ]) {
      const measured = answer(kind, { stats });
      checkOutcome(measured, 100);
      assert.equal(measured.stats, undefined, JSON.stringify(Object.keys(stats)));
    }
    for (const pause of [{}, { retryDelay: {} }, { retryDelay: { seconds: 86_400n, nanos: 1 } }]) {
      const paused = answer(kind, { pause });
      checkOutcome(paused, 100);
      assert.equal(paused.pause, undefined);
    }
    const fine = answer(kind, {
      stats: { duration: { nanos: 1 }, costs: [{ unit: "llm_tokens", amount: 5n }] },
      pause: { retryDelay: { seconds: 30n } },
    });
    checkOutcome(fine, 100);
    assert.equal(fine.stats?.costs[0]?.amount, 5n);
    assert.equal(fine.pause?.retryDelay?.seconds, 30n);
  });

  test("progress is brought within its bounds", () => {
    for (const [given, fraction] of [
      [Number.NaN, 0],
      [-1, 0],
      [0.5, 0.5],
      [7, 1],
    ]) {
      const output = { data: new Uint8Array(64 * 1024 + 1) };
      const news = create(AttemptProgressSchema, { fraction: given as number, message: "x".repeat(2_000), output });
      checkProgress(news);
      assert.deepEqual([news.fraction, news.message.length, news.output], [fraction, 1_024, undefined]);
    }
  });

  test("a cut text is the longest beginning that fits, and whole", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), fc.nat({ max: 80 }), (text, maxBytes) => {
        const short = cut(text, maxBytes);
        assert.ok(Buffer.byteLength(short) <= maxBytes);
        assert.ok(text.startsWith(short));
        const next = String.fromCodePoint(text.codePointAt(short.length) ?? 0);
        if (short !== text) assert.ok(Buffer.byteLength(short + next) > maxBytes);
      }),
    );
  });
});

test("the home is the Dispatcher with the fewest sessions that stays", () => {
  const [busy, idle, leaving] = [
    { sessions: 5, closing: false },
    { sessions: 2, closing: false },
    { sessions: 0, closing: true },
  ];
  assert.equal(chooseHome([busy, idle, leaving]), idle);
  assert.equal(chooseHome([leaving]), undefined);
});
