import type { Sample } from "./sample.ts";

export interface Share {
  readonly failureShare: number;
  readonly medianMs: number;
}

/** Executions of an agent that are needed to say anything of it. */
const enough = 5;

/**
 * Which agent alone a version owes its bad verdict to: the one without whose executions the others' are as good as the control's,
 * or nearly: failing at most twice as often, or 2 % more, and at the median less than 1.2 times as slow. Undefined if there
 * is no such agent, or if only one agent has executed enough to be compared.
 */
export function culpritOf(
  samples: Iterable<Sample & { readonly agentId: string }>,
  control: Iterable<Sample>,
): string | undefined {
  const byAgent = Map.groupBy(samples, ({ agentId }) => agentId);
  const judged = [...byAgent].filter(([, own]) => own.length >= enough);
  if (judged.length < 2) return undefined;
  const norm = shareOf([...control]);
  const culprits = judged.filter(([agentId, own]) => {
    const others = judged.flatMap(([other, theirs]) => (other === agentId ? [] : theirs));
    return isAsGood(shareOf(others), norm) && !isAsGood(shareOf(own), norm);
  });
  return culprits.length === 1 ? culprits[0]![0] : undefined;
}

function isAsGood(one: Share, norm: Share): boolean {
  const failsLittle = one.failureShare <= Math.max(2 * norm.failureShare, norm.failureShare + 0.02);
  return failsLittle && !(one.medianMs >= 1.2 * norm.medianMs);
}

function shareOf(samples: readonly Sample[]): Share {
  const durations = samples.filter(({ failed }) => !failed).map(({ durationMs }) => durationMs);
  return {
    failureShare: samples.length === 0 ? 0 : 1 - durations.length / samples.length,
    medianMs: durations.toSorted((a, b) => a - b)[durations.length >> 1] ?? NaN,
  };
}
