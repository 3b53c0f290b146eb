import assert from "node:assert/strict";
import { create, type UnknownField } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  AssignmentSchema,
  type CancelCause,
  CancelAttemptSchema,
  OutcomeRejectionSchema,
  WelcomeSchema,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Behaviour } from "../trial.ts";

const sleepLong = { capability: "sleep", data: { ms: 60_000 } };

export const protocol: Behaviour[] = [
  {
    name: "numbers its frames, acknowledges the mesh's",
    async run(trial) {
      const registry = await trial.scriptedRegistry({ onHello: (stream) => stream.welcome({ heartbeatMs: 100 }) });
      await trial.agent({ registry: [registry.address] });
      const stream = await registry.stream(0);
      assert.equal(stream.hello.resumable, true);
      assert.deepEqual([stream.hello.sessionId, stream.hello.inFlight], ["", []]);
      for (const taskId of ["a", "b", "c"]) stream.assign({ taskId, capability: "echo" });
      await stream.outcome("c");
      await stream.until(({ last, seq }) => last.ack === seq, "an ack of everything");
      await stream.until(({ frames }) => frames.filter(({ heartbeat }) => heartbeat).length >= 3, "heartbeats");
      assert.deepEqual(
        stream.frames.map(({ seq }) => seq),
        stream.frames.map((_, n) => BigInt(n + 1)),
      );
    },
  },
  {
    name: "acknowledges work before it does it",
    async run(trial) {
      // No heartbeat comes that could carry it.
      const registry = await trial.scriptedRegistry({ onHello: (stream) => stream.welcome({ heartbeatMs: 60_000 }) });
      const agent = await trial.agent({ registry: [registry.address] });
      const stream = await registry.stream(0);
      stream.assign({ taskId: "a", capability: "burn", data: { ms: 3_000 } });
      await stream.until(({ last, seq }) => last.ack === seq, "the ack of its assignment");
      assert.deepEqual([agent.all("end").length, stream.outcomes.length], [0, 0]);
    },
  },
  {
    name: "sends again what was not acknowledged",
    async run(trial) {
      const registry = await trial.scriptedRegistry({ acknowledge: false });
      const agent = await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      first.assign({ taskId: "known", capability: "echo" });
      await first.outcome("known");
      first.acknowledge();
      first.assign(
        { taskId: "done", attempt: 2, capability: "echo", data: { n: 1 } },
        { taskId: "going", ...sleepLong },
      );
      await first.outcome("done");
      await agent.untilTask("begin", "going");
      first.break();
      const second = await registry.stream(1);
      assert.equal(second.hello.sessionId, "session-1");
      assert.deepEqual(second.hello.inFlight.map(({ taskId, attempt }) => `${taskId} ${attempt}`).toSorted(), [
        "done 2",
        "going 1",
      ]);
      const { attempt, outcome } = await second.outcome("done");
      assert.deepEqual([attempt, outcome?.kind.case], [2, "completed"]);
      assert.deepEqual(
        agent
          .all("begin")
          .map(({ task_id }) => task_id)
          .toSorted(),
        ["done", "going", "known"],
        "nothing ran twice",
      );
    },
  },
  {
    name: "stops and forgets what it has lost",
    async run(trial) {
      const lost = [{ $typeName: "legion.registry.v1.AttemptRef" as const, taskId: "lost", attempt: 1 }];
      const registry = await trial.scriptedRegistry({
        onHello: (stream) => stream.welcome(stream.hello.sessionId === "" ? {} : { lost }),
      });
      const agent = await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      first.assign({ taskId: "lost", ...sleepLong }, { taskId: "kept", capability: "sleep", data: { ms: 2_500 } });
      await agent.until("begin", 2);
      first.break();
      assert.equal((await agent.untilTask("end", "lost")).how, "canceled");
      const second = await registry.stream(1);
      await second.outcome("kept");
      second.break();
      const third = await registry.stream(2);
      assert.deepEqual(
        [...second.outcomes, ...third.hello.inFlight].map(({ taskId }) => taskId).filter((id) => id === "lost"),
        [],
      );
    },
  },
  {
    name: "begins anew when its session is gone",
    async run(trial) {
      let sessions = 0;
      const registry = await trial.scriptedRegistry({
        onHello: (stream) => stream.welcome({ sessionId: `session-${++sessions}`, resumed: false }),
      });
      const agent = await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      first.assign({ taskId: "held", ...sleepLong });
      await agent.untilTask("begin", "held");
      first.fail(legionError("SESSION_EXPIRED", "Nothing was heard for the length of the lease."));
      assert.equal((await agent.untilTask("end", "held")).how, "canceled");
      const second = await registry.stream(1);
      second.assign({ taskId: "held", attempt: 2, capability: "echo" });
      assert.equal((await second.outcome("held")).attempt, 2);
      second.break();
      assert.equal((await registry.stream(2)).hello.sessionId, "session-2");
    },
  },
  {
    name: "an attempt that is lost and comes again is new",
    async run(trial) {
      const registry = await trial.scriptedRegistry({ onHello: (stream) => stream.welcome({ resumed: false }) });
      const agent = await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      // It computes, so it cannot be stopped at once.
      first.assign({ taskId: "again", capability: "burn", data: { ms: 2_000 } });
      await agent.untilTask("begin", "again");
      first.break();
      const second = await registry.stream(1);
      second.assign({ taskId: "again", capability: "echo", data: { n: 1 } });
      await agent.untilTask("end", "again", 2);
      second.assign({ taskId: "last", capability: "sleep", data: { ms: 500 } });
      await second.outcome("last");
      const outcomes = second.outcomes.filter(({ taskId }) => taskId === "again");
      const results = outcomes.map(({ outcome }) =>
        outcome?.kind.case === "completed"
          ? JSON.parse(Buffer.from(outcome.kind.value.result!.data).toString())
          : outcome,
      );
      assert.deepEqual(results, [{ n: 1 }], "what the first run comes to is nobody's");
    },
  },
  {
    name: "forgets an outcome that was rejected",
    async run(trial) {
      const registry = await trial.scriptedRegistry({ acknowledge: false });
      await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      first.assign({ taskId: "rejected", capability: "echo" }, { taskId: "kept", ...sleepLong });
      await first.outcome("rejected");
      const rejection = create(OutcomeRejectionSchema, { taskId: "rejected", attempt: 1, reason: "LEASE_LOST" });
      first.send({ ack: first.last.seq, rejections: [rejection] });
      await first.until(({ last, seq }) => last.ack === seq, "an ack of the rejection");
      first.break();
      const second = await registry.stream(1);
      assert.deepEqual(
        second.hello.inFlight.map(({ taskId }) => taskId),
        ["kept"],
      );
    },
  },
  {
    name: "gives a stream up that is silent for a lease",
    async run(trial) {
      const registry = await trial.scriptedRegistry({
        onHello: (stream) => stream.welcome({ heartbeatMs: 100, leaseMs: 600 }),
      });
      await trial.agent({ registry: [registry.address] });
      assert.equal((await registry.stream(1)).hello.sessionId, "session-1");
    },
  },
  {
    name: "moves, going on, when its Registry goes away",
    async run(trial) {
      const registry = await trial.scriptedRegistry();
      const agent = await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      first.assign({ taskId: "going", capability: "sleep", data: { ms: 1_000 } });
      await agent.untilTask("begin", "going");
      first.drain("This Registry restarts.", true);
      const second = await registry.stream(1);
      assert.deepEqual(
        second.hello.inFlight.map(({ taskId }) => taskId),
        ["going"],
      );
      assert.equal((await second.outcome("going")).outcome?.kind.case, "completed");
      assert.deepEqual([agent.all("draining").length, agent.exit], [0, undefined]);
    },
  },
  {
    name: "a hello that is refused: says why, exits 1",
    async run(trial) {
      const registry = await trial.scriptedRegistry({
        onHello: (stream) => stream.fail(legionError("INVALID_REQUEST", "The name has a cat in it.")),
      });
      const agent = await trial.agent({ registry: [registry.address], connected: false });
      assert.equal(await agent.untilExit(), 1, agent.transcript());
      assert.match(agent.errorLines.join("\n"), /The name has a cat in it\./);
      assert.equal(registry.streams.length, 1);
    },
  },
  {
    name: "bears fields and values of a newer mesh",
    async run(trial) {
      const registry = await trial.scriptedRegistry({
        onHello: (stream) => {
          const welcome = create(WelcomeSchema, {
            sessionId: "session-1",
            heartbeatInterval: durationFromMs(1_000),
            leaseDuration: durationFromMs(10_000),
            maxResultBytes: 1_000_000,
          });
          welcome.$unknown = unknownFields;
          stream.send({ welcome }, unknownFields);
        },
      });
      const agent = await trial.agent({ registry: [registry.address] });
      const stream = await registry.stream(0);
      const assignment = create(AssignmentSchema, { taskId: "a", attempt: 1, capability: "sleep", maxAttempts: 3 });
      assignment.taskData = {
        $typeName: "legion.common.v1.Payload",
        contentType: "",
        data: Buffer.from('{"ms":60000}'),
      };
      assignment.taskData.$unknown = unknownFields;
      assignment.$unknown = unknownFields;
      stream.send({ assignments: [assignment] }, unknownFields);
      await agent.untilTask("begin", "a");
      // A frame of nothing but news that no agent of today knows.
      stream.send({}, unknownFields);
      const cancel = create(CancelAttemptSchema, { taskId: "a", attempt: 1, cause: 99 as CancelCause });
      cancel.$unknown = unknownFields;
      stream.send({ cancels: [cancel] });
      assert.equal((await agent.untilTask("end", "a")).how, "canceled");
      assert.equal((await stream.outcome("a")).outcome?.kind.case, "canceled");
      await stream.until(({ last, seq }) => last.ack === seq, "an ack of everything");
      assert.equal(agent.all("connected").length, 1);
    },
  },
  {
    name: "an unknown attempt's cancel changes nothing",
    async run(trial) {
      const registry = await trial.scriptedRegistry();
      const agent = await trial.agent({ registry: [registry.address] });
      const stream = await registry.stream(0);
      stream.cancel("never seen", 1);
      stream.assign({ taskId: "after", capability: "echo" });
      assert.equal((await stream.outcome("after")).outcome?.kind.case, "completed");
      assert.deepEqual([stream.outcomes.length, agent.all("connected").length], [1, 1]);
    },
  },
];

/** One of each kind that the wire has, numbered as no message of ours is. */
const unknownFields: UnknownField[] = [
  { no: 1_000, wireType: WireType.Varint, data: new BinaryWriter().uint64(2n ** 63n).finish() },
  { no: 1_001, wireType: WireType.LengthDelimited, data: new BinaryWriter().string("from the future").finish() },
  { no: 1_002, wireType: WireType.Bit32, data: new BinaryWriter().fixed32(7).finish() },
  { no: 1_003, wireType: WireType.Bit64, data: new BinaryWriter().fixed64(7n).finish() },
];
