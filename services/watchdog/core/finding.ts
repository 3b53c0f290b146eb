import type { MessageInitShape } from "@bufbuild/protobuf";
import { type EvidenceSchema, VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { LeakFinding } from "./leak.ts";
import type { MedianWithInterval } from "./recent.ts";

export type Evidence = MessageInitShape<typeof EvidenceSchema>;

/** What speaks against a version, as JSON can hold it. */
export interface Finding {
  readonly kind: VerdictKind;
  readonly evidence: Omit<Evidence, "samples" | "controlSamples" | "$typeName" | "$unknown">;
  readonly because: string;
}

export function slowerFinding(ratio: MedianWithInterval, eValue: number, than: string, compared: string): Finding {
  return {
    kind: VerdictKind.SLOWER,
    evidence: { eValue, ...ratioEvidence(ratio) },
    because: `takes ${ratioText(ratio)} as long as version ${than}, by ${compared}; ${chance(eValue, "were no slower")}`,
  };
}

export function failingFinding(shares: Shares, eValue: number, than: string, compared: string): Finding {
  return {
    kind: VerdictKind.FAILING,
    evidence: { eValue, failureShare: shares.share, controlFailureShare: shares.controlShare },
    because: `failed ${percent(shares.share)} of its newest executions, version ${than} ${percent(shares.controlShare)}, by ${compared}; ${chance(eValue, "failed no more")}`,
  };
}

export function mostlyFailsFinding(share: number, eValue: number): Finding {
  return {
    kind: VerdictKind.FAILING,
    evidence: { eValue, failureShare: share },
    because: `failed ${percent(share)} of its newest executions; ${chance(eValue, "failed every second time at most")}`,
  };
}

export function leakFinding({ agentId, slopeBytes, pValue, executions, baseBytes }: LeakFinding): Finding {
  return {
    kind: VerdictKind.LEAKING,
    evidence: { memorySlopeBytes: slopeBytes, trendPValue: pValue },
    because: `keeps ${bytes(slopeBytes)} more after each execution: agent ${agentId} began at ${bytes(baseBytes)} and has grown through ${executions} executions without levelling off`,
  };
}

export interface Shares {
  readonly share: number;
  readonly controlShare: number;
}

export function ratioEvidence({ median, low, high }: MedianWithInterval): Finding["evidence"] {
  return {
    durationRatio: median,
    ...(low !== undefined && { durationRatioLow: low }),
    ...(high !== undefined && { durationRatioHigh: high }),
  };
}

export function ratioText({ median, low, high }: MedianWithInterval): string {
  const interval = low === undefined || high === undefined ? "" : ` (${times(low)} to ${times(high)})`;
  return `${times(median)} times${interval}`;
}

/** By Ville's inequality. */
function chance(eValue: number, otherwise: string): string {
  const odds = eValue >= 1e6 ? "a million" : Math.floor(eValue).toLocaleString("en");
  return `if it ${otherwise}, less than one trial in ${odds} would look like this`;
}

export const percent = (share: number): string => `${Number((share * 100).toFixed(1))} %`;
const times = (ratio: number): string => String(Number(ratio.toPrecision(3)));

function bytes(count: number): string {
  if (count >= 2 ** 20) return `${Number((count / 2 ** 20).toPrecision(3))} MiB`;
  return count >= 2 ** 10 ? `${Number((count / 2 ** 10).toPrecision(3))} KiB` : `${Math.round(count)} bytes`;
}
