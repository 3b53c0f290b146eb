import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { AssignmentSchema } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { Attempt } from "#libs/agent/attempt.ts";
import { completed, cutBytes } from "#libs/agent/messages.ts";
import { Outbox } from "#libs/agent/outbox.ts";
import { AttemptCanceled } from "#libs/agent/task-error.ts";

function answered(taskId: string, bytes: number): Attempt {
  const attempt = new Attempt(taskId, create(AssignmentSchema, { taskId, attempt: 1 }), 0);
  attempt.answer(completed(new Uint8Array(bytes)), undefined);
  return attempt;
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant("add" as const),
    bytes: fc.constantFrom(1, 100, 400_000, 2_000_000),
    count: fc.constantFrom(1, 3, 1_500),
  }),
  fc.record({ kind: fc.constant("send" as const) }),
  fc.record({ kind: fc.constant("acknowledge" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ kind: fc.constant("reconnect" as const), loses: fc.boolean() }),
);

test("whatever happens, each outcome is sent in order on each stream until it is acknowledged or lost", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const outbox = new Outbox();
      // What should be in it: not sent on this stream, and sent by frame.
      let waiting: string[] = [];
      let sent: { seq: number; taskIds: string[] }[] = [];
      const attempts = new Map<string, Attempt>();
      let seq = 0;
      for (const action of steps) {
        if (action.kind === "add") {
          for (let n = 0; n < action.count; n++) {
            const attempt = answered(`t${attempts.size}`, action.bytes);
            attempts.set(attempt.key, attempt);
            outbox.add(attempt);
            waiting.push(attempt.key);
          }
        } else if (action.kind === "send") {
          const outcomes = outbox.take(++seq);
          const taskIds = outcomes.map(({ taskId }) => taskId);
          assert.deepEqual(taskIds, waiting.slice(0, taskIds.length));
          assert.equal(taskIds.length > 0, waiting.length > 0);
          assert.ok(taskIds.length <= 1_000);
          const sizes = outcomes.map(({ outcome }) =>
            outcome?.kind.case === "completed" ? outcome.kind.value.result!.data.length : 0,
          );
          // All but the last fit into 1 MiB.
          assert.ok(sizes.slice(0, -1).reduce((sum, size) => sum + size, 0) < 1024 * 1024);
          waiting = waiting.slice(taskIds.length);
          sent.push({ seq, taskIds });
        } else if (action.kind === "acknowledge") {
          const upTo = Math.floor(seq * action.share);
          const done = outbox.acknowledge(upTo).map(({ key }) => key);
          assert.deepEqual(
            done,
            sent.filter((frame) => frame.seq <= upTo).flatMap(({ taskIds }) => taskIds),
          );
          sent = sent.filter((frame) => frame.seq > upTo);
        } else {
          waiting = [...sent.flatMap(({ taskIds }) => taskIds), ...waiting];
          if (action.loses && waiting[0] !== undefined) {
            attempts.get(waiting[0])?.lose(new AttemptCanceled("LEASE_LOST", ""));
            waiting = waiting.slice(1);
          }
          sent = [];
          seq = 0;
          outbox.rewind();
        }
        assert.equal(outbox.size, waiting.length + sent.flatMap(({ taskIds }) => taskIds).length);
      }
    }),
    { numRuns: 60 },
  );
});

test("text is cut to bytes of whole characters", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("a", "é", "€", "😀", "\ud800") }), fc.nat(40), (text, maxBytes) => {
      const cut = cutBytes(text, maxBytes);
      assert.ok(Buffer.byteLength(cut) <= maxBytes);
      assert.ok(cut.isWellFormed());
      assert.ok(text.toWellFormed().startsWith(cut));
      // No more is cut than one character's worth.
      if (cut !== text.toWellFormed()) assert.ok(Buffer.byteLength(cut) > maxBytes - 4);
    }),
  );
});
