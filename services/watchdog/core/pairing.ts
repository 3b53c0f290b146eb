import { lowerBound, upperBound } from "./sorted.ts";

export interface Outcome {
  readonly durationMs: number;
  readonly failed: boolean;
  /** Whether its agent has only just begun: its duration is not to be compared. */
  readonly cold?: boolean;
}

export interface Timed extends Outcome {
  /** When it ended, milliseconds. */
  readonly at: number;
}

type OnPair = (canary: Timed, control: Outcome) => void;

export interface PairingState {
  /** Of the control, by time: [at, durationMs, failed ? 1 : 0, has a partner ? 1 : 0]. */
  readonly controls: readonly (readonly [number, number, number, number])[];
  readonly forgotten: boolean;
  readonly waiting: readonly Timed[];
}

const remembered = 256;
const mostWaiting = 256;
/** A control that ended that many before or after is not of the same time any more. */
const reach = 8;

/**
 * Gives each execution of the canary a partner: of the eight executions of the control that ended next before it and the eight next
 * after it, the nearest that has none yet. So both saw the same load, though reports come in batches. It waits until one of the
 * control is known that ended later; if there is no partner for it then, it stays without. Each is used once at most.
 * Who is paired depends on times alone, not on durations and failures: otherwise the sign of a difference would not be fair.
 */
export class Pairing {
  readonly #at = new Float64Array(2 * remembered);
  readonly #durationsMs = new Float64Array(2 * remembered);
  readonly #failed = new Uint8Array(2 * remembered);
  readonly #used = new Uint8Array(2 * remembered);
  #size = 0;
  #forgotten = false;
  #waiting: Timed[] = [];

  constructor(state?: PairingState) {
    if (state === undefined) return;
    for (const [i, [at, durationMs, failed, used]] of state.controls.entries()) {
      this.#at[i] = at;
      this.#durationsMs[i] = durationMs;
      this.#failed[i] = failed;
      this.#used[i] = used;
    }
    this.#size = state.controls.length;
    this.#forgotten = state.forgotten;
    this.#waiting = [...state.waiting];
  }

  addCanary(canary: Timed, onPair: OnPair): void {
    if (this.#size > 0 && canary.at <= this.#at[this.#size - 1]!) {
      this.#match(canary, onPair);
      return;
    }
    // Clocks that are apart, or no control: no later one will come.
    if (this.#waiting.length === mostWaiting) this.#match(this.#waiting.shift()!, onPair);
    this.#waiting.push(canary);
  }

  addControl(control: Timed, onPair: OnPair): void {
    if (this.#size === 2 * remembered) this.#forget();
    const { at } = control;
    const place = upperBound(this.#at, this.#size, at);
    if (place === 0 && this.#forgotten) return;
    const isLatest = place === this.#size;
    if (!isLatest) this.#move(place, place + 1, this.#size);
    this.#at[place] = at;
    this.#durationsMs[place] = control.durationMs;
    this.#failed[place] = control.failed ? 1 : 0;
    this.#used[place] = 0;
    this.#size++;
    if (!isLatest || this.#waiting.length === 0) return;
    const passed = this.#waiting.filter((canary) => canary.at <= at);
    if (passed.length === 0) return;
    this.#waiting = this.#waiting.filter((canary) => canary.at > at);
    // The newest is nearest to the control that has come.
    for (const canary of passed.toSorted((a, b) => b.at - a.at)) this.#match(canary, onPair);
  }

  /** Those of the canary that wait, oldest first; they wait no longer. */
  takeWaiting(): readonly Timed[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  #match(canary: Timed, onPair: OnPair): void {
    const after = upperBound(this.#at, this.#size, canary.at);
    const before = lowerBound(this.#at, after, canary.at);
    // What was forgotten may have been nearer.
    if (before === 0 && after === 0 && this.#forgotten) return;
    let nearest = -1;
    let distance = Infinity;
    for (let i = Math.max(0, before - reach); i < Math.min(this.#size, after + reach); i++) {
      const gap = Math.abs(this.#at[i]! - canary.at);
      // Of those that ended at the same time the one that was reported last.
      if (this.#used[i] === 1 || gap > distance) continue;
      nearest = i;
      distance = gap;
    }
    if (nearest < 0) return;
    this.#used[nearest] = 1;
    onPair(canary, { durationMs: this.#durationsMs[nearest]!, failed: this.#failed[nearest] === 1 });
  }

  #forget(): void {
    this.#move(remembered, 0, this.#size);
    this.#size = remembered;
    this.#forgotten = true;
  }

  #move(from: number, to: number, end: number): void {
    for (const array of [this.#at, this.#durationsMs, this.#failed, this.#used]) array.copyWithin(to, from, end);
  }

  toJSON(): PairingState {
    const controls = Array.from(
      { length: this.#size },
      (_, i) => [this.#at[i]!, this.#durationsMs[i]!, this.#failed[i]!, this.#used[i]!] as const,
    );
    return { controls, forgotten: this.#forgotten, waiting: [...this.#waiting] };
  }
}
