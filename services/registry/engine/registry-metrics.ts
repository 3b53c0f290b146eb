import type { ConnectResponse } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { AttemptOutcome } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Counter, Metrics } from "#libs/telemetry/metrics.ts";
import type { AgentTotals } from "../sql/list-agents.ts";
import type { EndCause } from "./live-session.ts";

type OutcomeKind = "completed" | "failed" | "canceled";
type RejectionReason = "UNKNOWN_ATTEMPT" | "LEASE_LOST" | "INVALID_OUTCOME" | "other";

/** What is counted for every frame is summed up here, and handed on once a tick: an addition instead of a label look-up. */
export class RegistryMetrics {
  totals: AgentTotals = { total: 0, active: 0 };
  /** Decisions about versions. */
  readonly rollouts: Counter<"step">;
  readonly #ended: Counter<"cause">;
  readonly #hellos: Counter<"result">;
  readonly #sums: { flush(): void }[] = [];
  readonly #received: (value: number) => void;
  readonly #sent: (value: number) => void;
  readonly #assignments: (value: number) => void;
  readonly #outcomes: Record<OutcomeKind, (value: number) => void>;
  readonly #rejections: Record<RejectionReason, (value: number) => void>;

  constructor(metrics: Metrics) {
    this.#ended = metrics.counter("sessions_ended_total", "Sessions that ended, by cause", ["cause"]);
    this.rollouts = metrics.counter(
      "rollout_steps_total",
      "Decisions that changed a version's stage or weight, by step",
      ["step"],
    );
    this.#hellos = metrics.counter("hellos_total", "Hellos, by whether a session began, went on, or was refused", [
      "result",
    ]);
    const frames = metrics.counter("frames_total", "Frames on agents' streams, by direction", ["direction"]);
    this.#received = this.#sum((value) => frames.add(value, { direction: "received" }));
    this.#sent = this.#sum((value) => frames.add(value, { direction: "sent" }));
    const assignments = metrics.counter("assignments_total", "Assignments delivered to agents");
    this.#assignments = this.#sum((value) => assignments.add(value));
    const outcomes = metrics.counter("outcomes_total", "Outcomes received from agents, by kind", ["kind"]);
    const outcome = (kind: OutcomeKind) => this.#sum((value) => outcomes.add(value, { kind }));
    this.#outcomes = { completed: outcome("completed"), failed: outcome("failed"), canceled: outcome("canceled") };
    const rejections = metrics.counter("rejections_total", "Outcomes that were rejected, by reason", ["reason"]);
    const rejection = (reason: RejectionReason) => this.#sum((value) => rejections.add(value, { reason }));
    this.#rejections = {
      UNKNOWN_ATTEMPT: rejection("UNKNOWN_ATTEMPT"),
      LEASE_LOST: rejection("LEASE_LOST"),
      INVALID_OUTCOME: rejection("INVALID_OUTCOME"),
      other: rejection("other"),
    };
    metrics.observableGauge("agents", "Agents of all Registry replicas, by whether they have a session", () => [
      [this.totals.active, { session: "yes" }],
      [this.totals.total - this.totals.active, { session: "no" }],
    ]);
  }

  received(): void {
    this.#received(1);
  }

  answered(answers: readonly AttemptOutcome[]): void {
    for (const { outcome } of answers) if (outcome?.kind.case !== undefined) this.#outcomes[outcome.kind.case](1);
  }

  sent({ assignments, rejections }: ConnectResponse): void {
    this.#sent(1);
    if (assignments.length > 0) this.#assignments(assignments.length);
    for (const { reason } of rejections) this.#rejections[isKnown(reason) ? reason : "other"](1);
  }

  ended(cause: EndCause): void {
    this.#ended.add(1, { cause });
  }

  hello(result: "opened" | "resumed" | "refused"): void {
    this.#hellos.add(1, { result });
  }

  flush(): void {
    for (const sum of this.#sums) sum.flush();
  }

  #sum(add: (value: number) => void): (value: number) => void {
    // Shown from the start: a rate misses the first increase of a series that has just appeared.
    add(0);
    let waiting = 0;
    this.#sums.push({
      flush: () => {
        if (waiting > 0) add(waiting);
        waiting = 0;
      },
    });
    return (value) => {
      waiting += value;
    };
  }
}

function isKnown(reason: string): reason is RejectionReason {
  return reason === "UNKNOWN_ATTEMPT" || reason === "LEASE_LOST" || reason === "INVALID_OUTCOME";
}
