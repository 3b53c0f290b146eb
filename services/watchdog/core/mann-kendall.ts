import { medianOf } from "./recent.ts";

export interface Trend {
  /** Median slope of all pairs of points (Theil 1950; Sen 1968), per unit of time. */
  readonly slope: number;
  /** Probability of an upward trend as strong when there is none. */
  readonly pValue: number;
}

/**
 * The Mann–Kendall test for an upward trend (Mann 1945; Kendall 1975), by the normal approximation with the correction for ties and
 * for continuity. Points that follow one another closely count for fewer: the variance is multiplied by (1 + r)/(1 − r), r being the
 * correlation of neighbours once the slope is taken away, where it is positive, up to `mostCorrelation` (Bayley and Hammersley 1946; Yue and Wang 2004).
 */
export function upwardTrend(values: Float64Array, times: Float64Array, mostCorrelation: number): Trend {
  const n = values.length;
  const slopes = new Float64Array((n * (n - 1)) / 2);
  let s = 0;
  for (let j = 1, k = 0; j < n; j++) {
    for (let i = 0; i < j; i++) {
      const rise = values[j]! - values[i]!;
      s += Math.sign(rise);
      slopes[k++] = rise / (times[j]! - times[i]!);
    }
  }
  const slope = medianOf(slopes.sort());
  const variance =
    ((n * (n - 1) * (2 * n + 5) - tieTerm(values)) / 18) * inflation(values, times, slope, mostCorrelation);
  if (s <= 0 || variance <= 0) return { slope, pValue: 1 };
  return { slope, pValue: upperTail((s - 1) / Math.sqrt(variance)) };
}

/** Σ t(t − 1)(2t + 5) over the groups of t equal values. */
function tieTerm(values: Float64Array): number {
  const sorted = values.slice().sort();
  let sum = 0;
  for (let from = 0, to = 0; from < sorted.length; from = to) {
    while (to < sorted.length && sorted[to] === sorted[from]) to++;
    const t = to - from;
    sum += t * (t - 1) * (2 * t + 5);
  }
  return sum;
}

function inflation(values: Float64Array, times: Float64Array, slope: number, most: number): number {
  const rest = values.map((value, i) => value - slope * times[i]!);
  const mean = rest.reduce((sum, value) => sum + value, 0) / rest.length;
  let own = 0;
  let next = 0;
  for (let i = 0; i < rest.length; i++) {
    own += (rest[i]! - mean) ** 2;
    if (i > 0) next += (rest[i]! - mean) * (rest[i - 1]! - mean);
  }
  const r = own === 0 ? 0 : Math.min(Math.max(next / own, 0), most);
  return (1 + r) / (1 - r);
}

/** P(Z ≥ z), z ≥ 0, of the normal distribution, to 7 digits however small (the erfcc of Press et al., Numerical Recipes, ch. 6.2). */
export function upperTail(z: number): number {
  const x = z / Math.SQRT2;
  const t = 1 / (1 + 0.5 * x);
  const terms = [
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
  ];
  return 0.5 * t * Math.exp(-x * x + terms.reduce((sum, term) => sum * t + term, 0));
}
