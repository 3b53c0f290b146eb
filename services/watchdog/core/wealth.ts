/** Stakes the share `lambda` of its capital on "p ≤ cut", at the odds that are fair when p is uniform. */
export interface Bet {
  readonly cut: number;
  readonly lambda: number;
}

/** On the sign of a difference, with p = 0 for up and p = 1 for down: the factors 1 + λ and 1 − λ. */
export const signBets: readonly Bet[] = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95].map((lambda) => ({
  cut: 0.5,
  lambda,
}));

/** On a rank among earlier ones: the far tail says most when much has changed, the middle when everything has a little. */
export const rankBets: readonly Bet[] = [0.5, 0.2, 0.05, 0.02].flatMap((cut) =>
  [0.05, 0.15, 0.4, 0.8].map((lambda) => ({ cut, lambda })),
);

export interface WealthState {
  readonly capital: readonly number[];
  readonly asleep: number;
  readonly steps: number;
}

/** A change after t steps is found about 2 ln(1 + t / 250) / (growth a step) later than one at the start. */
const wakingSteps = 250;
/** Past any threshold; a martingale that is stopped stays one. */
const enough = 1e15;

/**
 * The capital, 1 at first, of a gambler who bets against "p is uniform (or larger)": a test martingale (or supermartingale), so
 * that it ever reaches 1/α has a probability of α at most (Ville 1939), whenever and however often it is looked at (Shafer and
 * Vovk 2019; Ramdas, Grünwald, Vovk and Shafer 2023).
 *
 * It is the mean over λ of Π(1 + λ·x), x being 1/cut − 1 when p ≤ cut and −1 when not. Half of the capital bets from the first step;
 * of the other half, asleep, the part 1/(t + 250) wakes after step t and joins the bets, so that a late change does not
 * have to win back what was lost before (the fixed share of Herbster and Warmuth 1998). Waking moves capital and makes none.
 */
export class Wealth {
  readonly #cuts: Float64Array;
  readonly #gains: Float64Array;
  readonly #losses: Float64Array;
  readonly #capital: Float64Array;
  #asleep = 0.5;
  #steps = 0;
  #total = 1;

  constructor(bets: readonly Bet[], state?: WealthState) {
    this.#cuts = Float64Array.from(bets, ({ cut }) => cut);
    this.#gains = Float64Array.from(bets, ({ cut, lambda }) => 1 + lambda * (1 / cut - 1));
    this.#losses = Float64Array.from(bets, ({ lambda }) => 1 - lambda);
    this.#capital = new Float64Array(bets.length).fill(0.5 / bets.length);
    if (state === undefined) return;
    this.#capital.set(state.capital);
    this.#asleep = state.asleep;
    this.#steps = state.steps;
    this.#total = this.#capital.reduce((sum, part) => sum + part, this.#asleep);
  }

  /** The e-value. */
  get total(): number {
    return this.#total;
  }

  bet(p: number): void {
    if (this.#total >= enough) return;
    const waking = this.#asleep / (++this.#steps + wakingSteps);
    const share = waking / this.#capital.length;
    let total = (this.#asleep -= waking);
    for (let i = 0; i < this.#capital.length; i++) {
      const after = this.#capital[i]! * (p <= this.#cuts[i]! ? this.#gains[i]! : this.#losses[i]!) + share;
      this.#capital[i] = after;
      total += after;
    }
    this.#total = total;
  }

  toJSON(): WealthState {
    return { capital: [...this.#capital], asleep: this.#asleep, steps: this.#steps };
  }
}
