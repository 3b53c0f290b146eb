import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  StreamOutcomeSchema,
  SubmitResultSchema,
  type StreamOutcome,
  type SubmitItem,
  type SubmitResult,
  type SubmitStreamRequest,
  type SubmitStreamResponseSchema,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { rpcStatusFromError } from "#libs/rpc/grpc-status.ts";
import { FrameBuffer } from "#libs/rpc/frames.ts";
import type { Admission } from "../engine/admission.ts";
import { taskName } from "../engine/session.ts";
import type { TaskEnd, Waiter, Waiters } from "../engine/waiters.ts";
import { submitOne } from "./submit-tasks.ts";

type Stream = DuplexStream<SubmitStreamRequest, MessageInitShape<typeof SubmitStreamResponseSchema>>;

// Reading stops while this much is on its way into the database or back to the client; the client's writes then wait.
const mostPending = 5_000;
const mostUnsentBytes = 16 * 1024 * 1024;
const mostItems = 1_000;

/** DispatcherService.SubmitStream, straight on gRPC: the fast way in. */
export function acceptSubmitStream(admission: Admission, waiters: Waiters, stream: Stream): void {
  new SubmitStream(admission, waiters, stream);
}

class SubmitStream {
  readonly #admission: Admission;
  readonly #waiters: Waiters;
  readonly #stream: Stream;
  readonly #out: FrameBuffer<SubmitResult | StreamOutcome>;
  /** What waits for an outcome, by the name of its task. */
  readonly #waiting = new Map<Waiter, string>();
  #pending = 0;
  #ended = false;
  #closed = false;
  #paused = false;

  constructor(admission: Admission, waiters: Waiters, stream: Stream) {
    this.#admission = admission;
    this.#waiters = waiters;
    this.#stream = stream;
    this.#out = new FrameBuffer({ write: (items) => this.#write(items), sizeOf, maxItems: 500 });
    stream.onMessage((frame) => this.#receive(frame));
    stream.onDrain(() => {
      this.#out.drained();
      this.#regulate();
    });
    stream.onEnd(() => {
      this.#ended = true;
      this.#endIfDone();
    });
    stream.onClose(() => {
      this.#closed = true;
      for (const [waiter, name] of this.#waiting) this.#waiters.remove(name, waiter);
      this.#waiting.clear();
    });
  }

  #receive({ tasks, omitReceipts, omitOutcomes }: SubmitStreamRequest): void {
    if (tasks.length > mostItems) {
      const message = `A frame has at most ${mostItems} tasks; this one has ${tasks.length}.`;
      this.#stream.fail(
        legionError("INVALID_REQUEST", message, { violations: [{ field: "tasks", description: message }] }),
      );
      return;
    }
    for (const item of tasks) this.#submit(item, omitReceipts, omitOutcomes);
    this.#regulate();
  }

  #submit({ ref, task }: SubmitItem, omitReceipt: boolean, omitOutcome: boolean): void {
    if (task === undefined) {
      const error = rpcStatusFromError(
        legionError("INVALID_REQUEST", "The item has no task.", {
          violations: [{ field: "task", description: "is required" }],
        }),
      );
      this.#out.push(create(SubmitResultSchema, { ref, kind: { case: "error", value: error } }));
      return;
    }
    // An end may come before the receipt, when the task was there before; or for a task that is not this one after all.
    let isAccepted = false;
    let early: TaskEnd | undefined;
    const awaiting: Waiter = {
      ended: (end) => {
        if (isAccepted) this.#tell(awaiting, ref, task.taskId, end);
        else early = end;
      },
    };
    const waiter = omitOutcome ? undefined : awaiting;
    this.#pending++;
    submitOne(this.#admission, { ref, task }, waiter, (accepted, result) => {
      this.#pending--;
      if (accepted === undefined) this.#out.push(result);
      else {
        isAccepted = true;
        if (!omitReceipt) this.#out.push(result);
        if (early !== undefined) this.#tell(awaiting, ref, accepted.taskId, early);
        else if (waiter !== undefined) this.#await(waiter, taskName(task.namespace, accepted.taskId));
      }
      this.#regulate();
      this.#endIfDone();
    });
  }

  #await(waiter: Waiter, name: string): void {
    if (this.#closed) this.#waiters.remove(name, waiter);
    else this.#waiting.set(waiter, name);
  }

  #tell(waiter: Waiter, ref: bigint, taskId: string, { state, attempt, outcome }: TaskEnd): void {
    this.#waiting.delete(waiter);
    const item = create(StreamOutcomeSchema);
    item.ref = ref;
    item.taskId = taskId;
    item.state = state;
    item.attempt = attempt;
    item.outcome = outcome;
    this.#out.push(item);
    this.#endIfDone();
  }

  #write(items: (SubmitResult | StreamOutcome)[]): boolean {
    const results: SubmitResult[] = [];
    const outcomes: StreamOutcome[] = [];
    for (const item of items) {
      if (item.$typeName === SubmitResultSchema.typeName) results.push(item);
      else outcomes.push(item);
    }
    const goOn = this.#stream.write({ results, outcomes });
    this.#endIfDone();
    return goOn;
  }

  #regulate(): void {
    const full = this.#pending >= mostPending || this.#out.bytes >= mostUnsentBytes;
    if (full === this.#paused) return;
    this.#paused = full;
    if (full) this.#stream.pause();
    else this.#stream.resume();
  }

  #endIfDone(): void {
    if (this.#ended && this.#pending === 0 && this.#waiting.size === 0 && this.#out.length === 0) this.#stream.end();
  }
}

function sizeOf(item: SubmitResult | StreamOutcome): number {
  if (item.$typeName === SubmitResultSchema.typeName) return 150;
  const kind = item.outcome?.kind;
  if (kind?.case === "completed") return 150 + (kind.value.result?.data.length ?? 0);
  if (kind?.case === "failed") return 300 + kind.value.message.length * 3 + (kind.value.details?.data.length ?? 0);
  return 300;
}
