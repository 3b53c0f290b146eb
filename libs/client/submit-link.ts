import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  DispatcherService,
  SubmitItemSchema,
  SubmitStreamRequestSchema,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type {
  SubmitStreamRequest,
  SubmitStreamResponse,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { FrameBuffer } from "#libs/rpc/frames.ts";
import { openStream } from "#libs/rpc/grpc-client.ts";
import type { ClientStream, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { connectionError, LegionError } from "./errors.ts";
import type { PendingTask } from "./pending-task.ts";

export interface SubmitLinkListener {
  onResponse(response: SubmitStreamResponse): void;
  onClosed(error: LegionError): void;
}

const bytesBesideData = 256;

/** One stream to one Dispatcher, from its opening to its end. */
export class SubmitLink {
  readonly #stream: ClientStream<SubmitStreamRequest, SubmitStreamResponse>;
  readonly #frames: Readonly<Record<PendingTask["wants"], FrameBuffer<PendingTask>>>;

  constructor(channel: GrpcChannel, listener: SubmitLinkListener) {
    const stream = openStream(channel, DispatcherService.method.submitStream);
    this.#stream = stream;
    this.#frames = { outcome: framesOf(stream, "outcome"), receipt: framesOf(stream, "receipt") };
    stream.onMessage((response) => listener.onResponse(response));
    stream.onDrain(() => {
      this.#frames.outcome.drained();
      this.#frames.receipt.drained();
    });
    stream.onClose((error) => {
      listener.onClosed(
        error === undefined
          ? new LegionError("The Dispatcher ended the stream.", { code: "UNAVAILABLE" })
          : connectionError(error, channel.target),
      );
    });
  }

  /** Sends it at the end of this turn of the event loop, with all else that the turn brings forth. */
  send(task: PendingTask): void {
    this.#frames[task.wants].push(task);
  }

  /** For when nothing is expected any more. */
  end(): void {
    this.#stream.end();
  }

  /** Answers that are expected will not come: ended in order, the stream would stay until the last of them. */
  cancel(): void {
    this.#stream.fail(new ConnectError("The client was closed.", Code.Canceled));
  }
}

function framesOf(
  stream: ClientStream<SubmitStreamRequest, SubmitStreamResponse>,
  wants: PendingTask["wants"],
): FrameBuffer<PendingTask> {
  const omitReceipts = wants === "outcome";
  return new FrameBuffer({
    sizeOf: ({ spec }) => bytesBesideData + (spec.taskData?.data.length ?? 0),
    write(tasks) {
      const items = tasks
        .filter(({ settled }) => !settled)
        .map(({ ref, spec }) => create(SubmitItemSchema, { ref: BigInt(ref), task: spec }));
      if (items.length === 0) return true;
      const frame = { tasks: items, omitReceipts, omitOutcomes: !omitReceipts };
      return stream.write(create(SubmitStreamRequestSchema, frame));
    },
  });
}
