/** Welch's t-test (1947), one-sided, for comparison alone: it is valid at one look that was fixed beforehand. */
export class WelchTest {
  readonly #canary = new Moments();
  readonly #control = new Moments();

  addCanary(value: number): void {
    this.#canary.add(value);
  }

  addControl(value: number): void {
    this.#control.add(value);
  }

  /** Whether the canary's mean is larger, at the level 0.05. Two values a side are needed. */
  isSlower(): boolean {
    const a = this.#canary.variance / this.#canary.count;
    const b = this.#control.variance / this.#control.count;
    if (a + b === 0) return false;
    const t = (this.#canary.mean - this.#control.mean) / Math.sqrt(a + b);
    const freedom = (a + b) ** 2 / (a ** 2 / (this.#canary.count - 1) + b ** 2 / (this.#control.count - 1));
    return t > quantile(freedom);
  }
}

/** The 0.95 one of Student's t, by the first terms of Cornish and Fisher's expansion (1937). */
function quantile(freedom: number): number {
  const z = 1.6448536269514722;
  return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2);
}

class Moments {
  count = 0;
  mean = 0;
  #squares = 0;

  /** Welford 1962. */
  add(value: number): void {
    const from = value - this.mean;
    this.mean += from / ++this.count;
    this.#squares += from * (value - this.mean);
  }

  get variance(): number {
    return this.#squares / (this.count - 1);
  }
}
