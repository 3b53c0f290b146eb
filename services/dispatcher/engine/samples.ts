import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import type { AttemptOutcome } from "#libs/proto/legion/registry/v1/session_pb.ts";
import {
  ExecutionResult,
  ExecutionSampleSchema,
  type ExecutionSample,
} from "#libs/proto/legion/watchdog/v1/sample_pb.ts";
import type { WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import type { Counter } from "#libs/telemetry/metrics.ts";
import { randomUUID } from "node:crypto";
import type { Lease } from "./session.ts";

const batchSize = 2_000;
// Ten seconds of a busy mesh. What the Watchdog misses while it is away is not worth more memory than this.
const mostKept = 200_000;

/** Collects what executions were like and hands it to the Watchdog, off the hot path. */
export class Samples {
  readonly #watchdog: Client<typeof WatchdogService>;
  readonly #clock: Clock;
  readonly #dropped: Counter<never>;
  #samples: ExecutionSample[] = [];
  #sending: { batchId: string; samples: ExecutionSample[] } | undefined;
  reachable = true;

  constructor(watchdog: Client<typeof WatchdogService>, clock: Clock, dropped: Counter<never>) {
    this.#watchdog = watchdog;
    this.#clock = clock;
    this.#dropped = dropped;
  }

  /**
   * An agent has answered. Nothing is said about it by executions that were canceled, that failed by the caller's fault, or
   * because something the agent called asked for a pause.
   */
  add(lease: Lease, { outcome, stats, pause }: AttemptOutcome): void {
    const kind = outcome?.kind.case;
    if (kind !== "completed" && kind !== "failed") return;
    if (kind === "failed" && (outcome?.kind.value.callerFault || pause !== undefined)) return;
    const result = kind === "completed" ? ExecutionResult.COMPLETED : ExecutionResult.FAILED;
    const sample = this.#sample(lease, result);
    if (stats?.duration) sample.duration = stats.duration;
    if (stats) {
      sample.memoryBeforeBytes = stats.memoryBeforeBytes;
      sample.memoryAfterBytes = stats.memoryAfterBytes;
      sample.heapAfterCollectionBytes = stats.heapAfterCollectionBytes;
    }
    this.#keep(sample);
  }

  /** An attempt ran for longer than it may. */
  addTimeout(lease: Lease): void {
    this.#keep(this.#sample(lease, ExecutionResult.FAILED));
  }

  /** Sends what has come together. What cannot be sent is kept for the next time, up to a bound. */
  async flush(): Promise<void> {
    while (this.#sending !== undefined || this.#samples.length > 0) {
      // The same batch keeps its id, so that it is not counted twice if only the answer was lost.
      this.#sending ??= { batchId: randomUUID(), samples: this.#samples.splice(0, batchSize) };
      try {
        await this.#watchdog.trackExecutions(this.#sending, { timeoutMs: 5_000 });
        this.reachable = true;
        this.#sending = undefined;
      } catch {
        this.reachable = false;
        return;
      }
    }
  }

  #sample(lease: Lease, result: ExecutionResult): ExecutionSample {
    const { session } = lease;
    const sample = create(ExecutionSampleSchema);
    sample.namespace = session.namespace;
    sample.agentId = session.agentId;
    sample.name = session.name;
    sample.version = session.version;
    sample.capability = lease.route.capability;
    sample.result = result;
    sample.duration = durationFromMs(Math.max(0, Math.round(this.#clock.monotonic() - lease.startedMs)));
    sample.endTime = timestampFromMs(this.#clock.now());
    return sample;
  }

  #keep(sample: ExecutionSample): void {
    if (this.#samples.length >= mostKept) this.#dropped.add(1);
    else this.#samples.push(sample);
  }
}
