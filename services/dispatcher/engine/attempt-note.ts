import { create, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { ExecutionStatsSchema } from "#libs/proto/legion/common/v1/execution_stats_pb.ts";
import type { AttemptOutcome } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Decision } from "../core/outcomes.ts";
import type { AttemptNote } from "../sql/resolve-attempts.ts";

const longestPauseMs = 86_400_000;
const mostCosts = 16;
const largestAmount = 1_000_000_000_000n;

/** What an answer says that the arbiter of limits is to be told; undefined: nothing, as almost always. */
export function noteOf(answer: AttemptOutcome): AttemptNote | undefined {
  const costs = (answer.stats?.costs ?? [])
    .filter(({ unit, amount }) => amount >= 0n && amount <= largestAmount && /^[A-Za-z0-9_]{0,63}$/.test(unit))
    .slice(0, mostCosts);
  const pauseMs = pauseMsOf(answer);
  if (costs.length === 0 && pauseMs === 0) return undefined;
  return {
    costs: costs.length === 0 ? null : toBinary(ExecutionStatsSchema, create(ExecutionStatsSchema, { costs })),
    pauseMs,
    pauseLimit: pauseMs > 0 ? (answer.pause?.limit ?? "").replaceAll("\0", "") : "",
  };
}

/** A task that is tried again does so after the pause that its own attempt asked for. */
export function restFor(decision: Decision, answer: AttemptOutcome): Decision {
  const pauseMs = pauseMsOf(answer);
  if (pauseMs === 0 || decision.kind === "final") return decision;
  return { ...decision, delayMs: Math.max(decision.delayMs, pauseMs) };
}

function pauseMsOf({ pause }: AttemptOutcome): number {
  const ms = pause?.retryDelay === undefined ? 0 : durationMs(pause.retryDelay);
  return ms > 0 ? Math.min(ms, longestPauseMs) : 0;
}
