import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { ExecutionStatsSchema } from "#libs/proto/legion/common/v1/execution_stats_pb.ts";
import type { Cost } from "#libs/proto/legion/common/v1/cost_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { RateLimitService, SettlementSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { costIn } from "./buckets.ts";
import { claimNotes, deleteNotes, pauseGate, putNotesBack, type NoteRow } from "../sql/notes.ts";
import { decodeSpec } from "./lease-book.ts";

const notesAtOnce = 200;
const askTimeoutMs = 2_000;
// Longer than a delivery takes; whoever dies over it leaves the notes to the others.
const claimMs = 10_000;
const restMs = 1_000;

export interface NoteCarrierParts {
  readonly pool: ConnectionPool;
  readonly log: Logger;
  readonly rateLimit: Client<typeof RateLimitService>;
  find(namespace: string, limit: string): Limit | undefined;
  readonly onSlotsFreed: (gateKeys: number[]) => void;
}

/**
 * Tells the arbiter of limits what attempts really cost and which limits they asked to pause, as it was stored with their
 * outcomes: at least once, and once is enough, since both can be said again without effect.
 */
export class NoteCarrier {
  readonly #parts: NoteCarrierParts;
  #carrying: Promise<void> | undefined;
  #again = false;

  constructor(parts: NoteCarrierParts) {
    this.#parts = parts;
  }

  /** There is something to deliver. What cannot be delivered now is tried again by `tick`. */
  nudge(): void {
    void this.carried();
  }

  /** Resolves when what is there now is delivered, or could not be. */
  async carried(): Promise<void> {
    this.#again = true;
    await this.tick().catch((err: unknown) => this.#parts.log.debug("notes could not be delivered", { err }));
  }

  /** Delivers all that is there. */
  tick(): Promise<void> {
    this.#carrying ??= this.#carry().finally(() => (this.#carrying = undefined));
    return this.#carrying;
  }

  async #carry(): Promise<void> {
    const { pool } = this.#parts;
    do {
      this.#again = false;
      const notes = await claimNotes(pool, notesAtOnce, claimMs);
      if (notes.length === 0) continue;
      // Pauses first: every moment counts.
      const failed = await this.#pause(notes);
      const told = notes.filter((note) => !failed.has(note));
      try {
        await this.#settle(told);
      } catch (err) {
        this.#parts.log.debug("costs could not be settled", { err });
        for (const note of told) failed.add(note);
      }
      const done = notes.filter((note) => !failed.has(note));
      if (done.length > 0) await deleteNotes(pool, done.map(keyOf));
      if (failed.size > 0) await putNotesBack(pool, [...failed].map(keyOf), restMs);
      if (notes.length === notesAtOnce) this.#again = true;
    } while (this.#again);
  }

  /** @returns those that the arbiter could not be told of. */
  async #pause(notes: readonly NoteRow[]): Promise<Set<NoteRow>> {
    const { pool, rateLimit, onSlotsFreed } = this.#parts;
    const failed = new Set<NoteRow>();
    // A thousand tasks that were told "429" pause their limit once: the longest of them.
    const longest = new Map<string, { namespace: string; limit: string; key: string; ms: number; notes: NoteRow[] }>();
    for (const note of notes) {
      const { namespace, pause_ms: ms, pause_limit: name } = note;
      if (ms === null || ms <= 0) continue;
      for (const { limit, key } of note.gates) {
        if (name !== "" && name !== limit) continue;
        const id = `${namespace}\n${limit}\n${key}`;
        const pause = longest.get(id);
        if (pause === undefined) longest.set(id, { namespace, limit, key, ms, notes: [note] });
        else {
          pause.ms = Math.max(pause.ms, ms);
          pause.notes.push(note);
        }
      }
    }
    for (const { namespace, limit, key, ms, notes: its } of longest.values()) {
      // Held here whether or not the arbiter can be told.
      onSlotsFreed(await pauseGate(pool, { namespace, limit, key }, ms));
      try {
        await rateLimit.pauseLimit(
          { namespace, limit, key, duration: durationFromMs(Math.ceil(ms)) },
          { timeoutMs: askTimeoutMs },
        );
      } catch (error) {
        if (errorReason(error) === "LIMIT_NOT_FOUND") continue;
        this.#parts.log.debug("a limit could not be paused", { err: error, limit });
        for (const note of its) failed.add(note);
      }
    }
    return failed;
  }

  async #settle(notes: readonly NoteRow[]): Promise<void> {
    const settlements = notes.flatMap((note) => this.#settlement(note) ?? []);
    if (settlements.length > 0) await this.#parts.rateLimit.settle({ settlements }, { timeoutMs: askTimeoutMs });
  }

  #settlement(note: NoteRow): MessageInitShape<typeof SettlementSchema> | undefined {
    const { namespace, task_id: taskId, attempt } = note;
    const reservationId = `${namespace}/${taskId}`;
    if (attempt === 0) {
      return { reservationId, namespace, release: true, adjustments: this.#adjustments(note, () => 0n) };
    }
    if (note.costs === null) return undefined;
    const { costs } = fromBinary(ExecutionStatsSchema, note.costs);
    // The estimate is for one attempt; what later ones report is charged on top of it.
    if (attempt === 1)
      return { reservationId, namespace, costs, adjustments: this.#adjustments(note, amountIn(costs)) };
    const extra = this.#adjustments(note, amountIn(costs)).map((adjustment) => ({
      ...adjustment,
      reserved: 0n,
      leaseId: 0n,
    }));
    return { reservationId: `${attempt}#${reservationId}`, namespace, adjustments: extra };
  }

  /** For what was taken from a lease of tokens: the arbiter knows nothing of it. */
  #adjustments(
    { namespace, gates, spec, spent }: NoteRow,
    actualIn: (unit: string) => bigint | undefined,
  ): { limit: string; key: string; reserved: bigint; actual: bigint; leaseId: bigint }[] {
    const task = decodeSpec(spec);
    return gates.flatMap(({ limit: name, key, isSlot }, index) => {
      const limit = isSlot ? undefined : this.#parts.find(namespace, name);
      if (limit === undefined) return [];
      const actual = actualIn(limit.unit);
      return actual === undefined
        ? []
        : [{ limit: name, key, reserved: costIn(limit.unit, task), actual, leaseId: spent?.[index] ?? 0n }];
    });
  }
}

const keyOf = (note: NoteRow): number => note.note_key;

const amountIn =
  (costs: readonly Cost[]) =>
  (unit: string): bigint | undefined =>
    costs.findLast((cost) => cost.unit === unit)?.amount;
