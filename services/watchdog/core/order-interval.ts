import { signBets } from "./wealth.ts";

/**
 * A confidence sequence for the median: with the probability 1 − δ it holds the median at every length n at once.
 *
 * It is the sign test turned round: m is left out when the gambler who bets on "above m" (or "below m") has reached 2/δ, and
 * that depends on how many lie above (below) alone, so the ends are order statistics (Darling and Robbins 1967; Howard and Ramdas
 * 2022). What equals m counts against leaving it out.
 */
export function orderInterval(
  sorted: Float64Array,
  delta: number,
): { low: number | undefined; high: number | undefined } {
  const n = sorted.length;
  const above = leastAbove(n, 2 / delta);
  return above > n ? { low: undefined, high: undefined } : { low: sorted[n - above], high: sorted[above - 1] };
}

/** The least number of n signs that has to be "up" for the mean over λ of Π(1 + λ·sgn) to reach the threshold; n + 1: none. */
function leastAbove(n: number, threshold: number): number {
  let low = n >> 1;
  let high = n + 1;
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if (wealthOf(middle, n - middle) >= threshold) high = middle;
    else low = middle;
  }
  return high;
}

function wealthOf(up: number, down: number): number {
  let sum = 0;
  for (const { lambda } of signBets) sum += Math.exp(up * Math.log1p(lambda) + down * Math.log1p(-lambda));
  return sum / signBets.length;
}
