import type { Refusal } from "./decision.ts";
import type { Need } from "./limit-index.ts";

/** What was refused is refused again for so long without asking, if its wait is not over sooner. */
const keptMs = 100;
const mostKept = 10_000;

/** So that a flood of what is over its limit is answered here, ten questions a second and key at most. */
export class RecentRefusals {
  readonly #kept = new Map<string, { readonly refusal: Refusal; readonly untilMs: number; readonly retryMs: number }>();

  add(needs: readonly Need[], refusal: Refusal, nowMs: number): void {
    if (this.#kept.size >= mostKept) this.#kept.clear();
    const retryMs = nowMs + (refusal.retryDelayMs ?? Infinity);
    this.#kept.set(nameOf(needs), { refusal, retryMs, untilMs: Math.min(retryMs, nowMs + keptMs) });
  }

  /** The refusal of the same, with what is left of its wait. */
  find(needs: readonly Need[], nowMs: number): Refusal | undefined {
    if (this.#kept.size === 0) return undefined;
    const kept = this.#kept.get(nameOf(needs));
    if (kept === undefined || nowMs >= kept.untilMs) return undefined;
    const { refusal, retryMs } = kept;
    return refusal.retryDelayMs === undefined ? refusal : { ...refusal, retryDelayMs: Math.ceil(retryMs - nowMs) };
  }

  clear(): void {
    this.#kept.clear();
  }
}

function nameOf(needs: readonly Need[]): string {
  return needs
    .map(({ bucket: { limit, key }, cost }) => `${limit.namespace}/${limit.name}\n${key}\n${cost}`)
    .join("\n\n");
}
