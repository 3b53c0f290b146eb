import { toBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Matcher } from "../core/matcher.ts";
import { failed, failureOutcome } from "../core/outcomes.ts";
import { failParked } from "../sql/fail-parked.ts";
import { forgetUnused } from "../sql/lanes.ts";
import { returnUnserved } from "../sql/rounds.ts";
import { Gatekeeper, type Parked } from "./gatekeeper.ts";
import type { Hints } from "./hints.ts";
import { LaneAdmission } from "./lane-admission.ts";
import { LaneTable } from "./lane-table.ts";
import type { LimitGate } from "./limit-gate.ts";
import { LimitWatch } from "./limit-watch.ts";
import { NoteCarrier } from "./note-carrier.ts";
import type { LiveRoute, RouteTable } from "./route-table.ts";
import { ServedRoutes } from "./served-routes.ts";
import { taskName, type HomeSession } from "./session.ts";
import type { Waiters } from "./waiters.ts";

// Six times as long as a lane is known before it is asked for anew.
const forgetAfterMs = 3_600_000;

export interface GatesParts {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly routes: RouteTable;
  readonly matcher: Matcher<HomeSession>;
  readonly limits: LimitGate;
  readonly rateLimit: Client<typeof RateLimitService>;
  readonly waiters: Waiters;
  readonly hints: Hints;
  readonly instanceKey: number;
  readonly onQueued: (route: LiveRoute, rank: number, taskKey: number) => void;
}

/** All that limits need here: what is parked, what runs under them, and what their arbiter is to be told. */
export class Gates implements Disposable {
  readonly admission: LaneAdmission;
  readonly keeper: Gatekeeper;
  readonly carrier: NoteCarrier;
  readonly #parts: GatesParts;
  readonly #watch: LimitWatch;
  readonly #served: ServedRoutes;

  constructor(parts: GatesParts) {
    const { pool, clock, log, limits, rateLimit } = parts;
    this.#parts = parts;
    this.#served = new ServedRoutes(parts);
    this.admission = new LaneAdmission(limits, new LaneTable(pool, clock), clock);
    const onSlotsFreed = (gateKeys: number[]): void => this.keeper.freed(gateKeys);
    this.#watch = new LimitWatch({
      pool,
      clock,
      limits,
      onSlotsFreed,
      onEased: () => {
        this.admission.eased();
        this.keeper.expect(0);
      },
    });
    const watch = this.#watch;
    this.keeper = new Gatekeeper({
      ...parts,
      admission: this.admission,
      onNever: (laneKey, task) => this.#failed(laneKey, task),
      limits: {
        admit: (task) => limits.admit(task),
        find: (namespace, name) => watch.find(namespace, name),
        pauseMs: (gate) => watch.pauseMs(gate),
      },
    });
    this.carrier = new NoteCarrier({
      pool,
      log,
      rateLimit,
      onSlotsFreed,
      find: (namespace, name) => watch.find(namespace, name),
    });
  }

  /** To be called after the limits were read. */
  async limitsRead(): Promise<void> {
    await this.#watch.tick();
  }

  /** Once a second. */
  async tick(): Promise<void> {
    const { pool, limits } = this.#parts;
    if (limits.all.some(({ kind }) => kind.case === "concurrency")) {
      if (await this.#served.tick()) this.keeper.expect(0);
      this.keeper.freed(await returnUnserved(pool));
    }
    await this.carrier.tick();
  }

  async #failed(laneKey: number, { rank, taskKey, segment, spec }: Parked): Promise<void> {
    const { pool, waiters, hints } = this.#parts;
    const message = "The task costs more than a limit ever admits; the limit was made smaller while the task waited.";
    const outcome = failureOutcome(failed("COST_EXCEEDS_LIMIT", message, false));
    const ended = await failParked(pool, { laneKey, rank, taskKey, segment }, toBinary(OutcomeSchema, outcome));
    if (ended === undefined) return;
    waiters.ended(taskName(spec.namespace, spec.taskId), { state: TaskState.FAILED, attempt: ended.attempts, outcome });
    hints.ended(ended.submitter, taskKey);
  }

  async forgetUnused(): Promise<void> {
    await forgetUnused(this.#parts.pool, forgetAfterMs);
  }

  [Symbol.dispose](): void {
    this.keeper[Symbol.dispose]();
  }
}
