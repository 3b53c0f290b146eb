import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { SessionDownSchema } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import {
  AssignmentSchema,
  ConnectRequestSchema,
  type ConnectResponse,
  type ConnectRequest,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { isDelivered } from "../../services/registry/core/attempts.ts";
import type { Answer } from "../../services/registry/core/answers.ts";
import { type Profile, Session } from "../../services/registry/core/session.ts";

const limits = { heartbeatIntervalMs: 1_000, leaseMs: 10_000, maxResultBytes: 1_000 };
const profile: Profile = {
  namespace: "default",
  agentId: "a",
  name: "a",
  version: "0",
  capabilities: [],
  labels: [],
  sdk: "",
  resumable: true,
};

const completed = { kind: { case: "completed" as const, value: {} } };

type Fate = "held" | "answered" | "recorded" | "returned" | "rescued";

/** A session between an agent and a Dispatcher that both remember everything, and check that nothing is lost or doubled. */
class World {
  readonly session = new Session("s", profile, 4, 100, limits, 0);
  /** What the Dispatcher knows of every attempt it ever gave. */
  readonly fates = new Map<string, Fate>();
  /** Frames on their way to the agent. */
  transit: ConnectResponse[] = [];
  connected = true;
  over = false;
  agentSeq = 0;
  agentAck = 0n;
  /** Acknowledged by the agent on a stream that counts, and not answered: it may have begun. */
  readonly begun = new Set<string>();
  readonly holds = new Set<string>();
  /** Answered by the agent, not yet acknowledged to it: the frame's number on this stream. */
  readonly kept = new Map<string, number>();
  readonly onLink: { seq: number; answer: Answer }[] = [];
  linkSeq = 0;
  nextTask = 0;
  drained = false;
  slots = 4;

  constructor() {
    this.#greet();
  }

  give(count: number): void {
    const ids = Array.from({ length: count }, () => `t${this.nextTask++}`);
    const before = this.session.attempts.unanswered;
    const offered = this.connected && !this.drained ? this.slots : 0;
    for (const id of ids) this.fates.set(id, "held");
    const assignments = ids.map((taskId) => create(AssignmentSchema, { taskId, attempt: 1 }));
    const all = this.session.give(create(SessionDownSchema, { assignments }));
    assert.equal(all, before + count <= offered || count === 0);
    assert.ok(this.session.attempts.unanswered <= Math.max(before, offered), "never beyond the slots");
    if (!all) this.attach();
  }

  /** The Dispatcher is told anew what the session holds. */
  attach(): void {
    for (const [id, fate] of this.fates) {
      if ((fate === "held" || fate === "answered") && !this.#inSession(id)) {
        assert.equal(fate, "held", `${id} was answered and is forgotten`);
        this.fates.set(id, "returned");
      }
    }
  }

  pump(): void {
    if (!this.connected) return;
    while (this.session.hasFrame) this.transit.push(this.session.nextFrame(0));
    if (this.session.owesAcknowledgement) this.transit.push(this.session.nextFrame(0));
  }

  agentReads(count: number): void {
    for (const frame of this.transit.splice(0, count)) {
      assert.equal(frame.seq, this.agentAck + 1n, "no gaps");
      this.agentAck = frame.seq;
      for (const { taskId } of frame.assignments) {
        assert.ok(!this.holds.has(taskId) && !this.kept.has(taskId), "given twice on one session");
        this.holds.add(taskId);
      }
      for (const [id, seq] of this.kept) {
        if (seq > Number(frame.ack)) continue;
        assert.notEqual(this.fates.get(id), "answered", "acknowledged before it was dealt with");
        this.kept.delete(id);
      }
    }
  }

  /** Answers to what the agent cannot know come to nothing. */
  agentLies(): void {
    if (!this.connected) return;
    const unknown = [...this.fates.keys()].filter((taskId) => {
      const attempt = this.session.attempts.find({ taskId, attempt: 1 });
      return attempt === undefined || !isDelivered(attempt);
    });
    const outcomes = unknown.slice(-3).map((taskId) => ({ taskId, attempt: 1, outcome: completed }));
    const frame = { seq: BigInt(++this.agentSeq), ack: this.agentAck, outcomes };
    assert.equal(this.session.receive(create(ConnectRequestSchema, frame), 0).answer, undefined);
  }

  agentSends(answers: number, more: MessageInitShape<typeof ConnectRequestSchema> = {}): void {
    if (!this.connected) return;
    const ids = [...this.holds].slice(0, answers);
    const seq = ++this.agentSeq;
    for (const id of ids) {
      this.holds.delete(id);
      this.begun.delete(id);
      this.kept.set(id, seq);
    }
    if (more.ack === undefined) for (const id of this.holds) this.begun.add(id);
    if (more.drain !== undefined) this.drained = true;
    this.slots = more.setSlots?.slots ?? this.slots;
    this.#receive(seq, ids, more);
  }

  linkAcknowledges(count: number): void {
    for (const { seq, answer } of this.onLink.splice(0, count)) {
      for (const { taskId } of answer.attempts)
        if (this.fates.get(taskId) === "answered") this.fates.set(taskId, "recorded");
      this.session.settle(seq);
    }
  }

  linkBreaks(): void {
    this.onLink.length = 0;
    this.attach();
    for (const answer of this.session.answers.linkLost()) this.#send(answer);
  }

  streamBreaks(): void {
    if (!this.connected) return;
    this.connected = false;
    this.transit = [];
    if (this.session.suspend(0)) this.attach();
  }

  /** @param forgotten how many outcomes the agent drops that it had sent. */
  resume(forgotten: number): void {
    if (this.connected) this.streamBreaks();
    this.connected = true;
    this.drained = false;
    this.slots = 4;
    for (const id of [...this.kept.keys()].slice(0, Math.max(0, forgotten))) this.kept.delete(id);
    const named = [...this.holds, ...this.kept.keys()];
    this.agentSeq = 0;
    this.agentAck = 0n;
    const lost = this.session.resume(
      profile,
      4,
      named.map((taskId) => ({ taskId, attempt: 1 })),
      0,
    );
    this.#greet();
    this.attach();
    for (const { taskId } of lost) {
      assert.notEqual(this.fates.get(taskId), "answered", "its outcome is on its way");
      this.holds.delete(taskId);
      this.begun.delete(taskId);
      this.kept.delete(taskId);
    }
    for (const id of this.holds) this.begun.add(id);
    // Outcomes that were not acknowledged are sent again, all in one frame.
    const again = [...this.kept.keys()];
    if (again.length === 0) return;
    const seq = ++this.agentSeq;
    for (const id of again) this.kept.set(id, seq);
    this.#receive(seq, again, {});
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    const received = new Set(this.session.end().map(({ taskId }) => taskId));
    for (const id of this.begun) assert.ok(received.has(id), `${id} was begun, and nobody is told`);
    for (const id of received) assert.ok(this.holds.has(id), `${id} was never received`);
    for (const [id, fate] of this.fates)
      if (fate === "held") this.fates.set(id, received.has(id) ? "rescued" : "returned");
    this.connected = false;
    this.linkAcknowledges(Infinity);
    for (const [id, fate] of this.fates) assert.ok(fate !== "held" && fate !== "answered", `${id} is ${fate} for ever`);
  }

  check(): void {
    for (const [id, fate] of this.fates) {
      const attempt = this.session.attempts.find({ taskId: id, attempt: 1 });
      const expected = attempt === undefined ? "gone" : attempt.answered ? "answered" : "held";
      if (fate === "held" || fate === "answered") assert.equal(expected, fate, id);
      else assert.equal(expected, "gone", `${id} is ${fate}, and the session has it`);
    }
    const count = [...this.fates.values()].filter((fate) => fate === "held").length;
    assert.equal(this.session.attempts.unanswered, count);
  }

  #inSession(id: string): boolean {
    return this.session.attempts.find({ taskId: id, attempt: 1 }) !== undefined;
  }

  #greet(): void {
    this.agentSeq = 1;
    this.session.greeted(create(ConnectRequestSchema, { seq: 1n }), {
      $typeName: "legion.registry.v1.Welcome",
    } as never);
  }

  #receive(seq: number, ids: string[], more: MessageInitShape<typeof ConnectRequestSchema>): void {
    const outcomes = ids.map((taskId) => ({ taskId, attempt: 1, outcome: completed }));
    const frame: ConnectRequest = create(ConnectRequestSchema, {
      seq: BigInt(seq),
      ack: this.agentAck,
      outcomes,
      ...more,
    });
    const { answer } = this.session.receive(frame, 0);
    if (answer !== undefined) this.#send(answer);
  }

  #send(answer: Answer): void {
    for (const { taskId } of answer.attempts) if (this.fates.get(taskId) === "held") this.fates.set(taskId, "answered");
    answer.linkSeq = ++this.linkSeq;
    this.onLink.push({ seq: answer.linkSeq, answer });
  }
}

const few = fc.nat({ max: 5 });
const step: fc.Arbitrary<(world: World) => void> = fc.oneof(
  few.map((count) => (world: World) => world.give(count)),
  fc.constant((world: World) => world.pump()),
  few.map((count) => (world: World) => world.agentReads(count)),
  few.map((count) => (world: World) => world.agentSends(count)),
  few.map((slots) => (world: World) => world.agentSends(1, { setSlots: { slots } })),
  few.map((count) => (world: World) => world.linkAcknowledges(count)),
  fc.constant((world: World) => world.linkBreaks()),
  fc.constant((world: World) => world.streamBreaks()),
  few.map((forgotten) => (world: World) => world.resume(forgotten - 3)),
  fc.constant((world: World) => world.agentSends(0, { drain: {} })),
  fc.constant((world: World) => world.agentSends(0, { ack: 0n })),
  fc.constant((world: World) => world.agentLies()),
);

test("whatever happens, each attempt has exactly one fate", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const world = new World();
      for (const act of steps) {
        act(world);
        world.check();
      }
      world.end();
    }),
    { numRuns: 2_000 },
  );
});
