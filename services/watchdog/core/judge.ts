import type { MessageInitShape } from "@bufbuild/protobuf";
import { type EvidenceSchema, VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { type Executions, failureShare } from "./executions.ts";

/** Executions that are needed before anything is said. */
const enough = 20;
const failingShare = 0.5;
const failingTimesControl = 2;
const slowerRatio = 2;

export interface Control {
  readonly version: string;
  /** Whether it came before the version judged. Only then can it say that the other became slower. */
  readonly earlier: boolean;
  readonly executions: Executions;
}

export interface Judgement {
  readonly kind: VerdictKind;
  readonly evidence: MessageInitShape<typeof EvidenceSchema>;
  /** Ends a sentence that begins with who is judged. */
  readonly because: string;
}

/**
 * A rule with fixed thresholds over the last executions. From 20 executions on: FAILING when half of them failed, and twice as
 * large a share as of the control, if there is one; SLOWER when the median of the completed ones is twice that of an earlier
 * version, with 20 completed on both sides; else HEALTHY. Fewer than 20: UNDECIDED.
 *
 * It is no sequential test: looked at after every execution it will, sooner or later, cross a threshold by chance, the sooner
 * the more the durations vary; it states no error probability (`e_value` and the interval stay absent); and it does not see
 * what is 1.5 times slower or fails one time in ten. Memory is not judged: LEAKING is never said.
 */
export function judge(judged: Executions, control: Control | undefined): Judgement {
  const compared = control !== undefined && control.executions.count >= enough ? control : undefined;
  const share = failureShare(judged);
  const controlShare = compared && failureShare(compared.executions);
  const ratio = durationRatio(judged, compared);
  const evidence: Judgement["evidence"] = {
    samples: BigInt(judged.count),
    failureShare: share,
    ...(compared && {
      controlSamples: BigInt(compared.executions.count),
      controlVersion: compared.version,
      controlFailureShare: failureShare(compared.executions),
    }),
    ...(ratio !== undefined && { durationRatio: ratio }),
  };
  const failed = `failed ${judged.failures} of its last ${judged.count} executions (${percent(share)})`;
  const versus = compared && `version ${compared.version} failed ${percent(controlShare ?? 0)}`;

  if (judged.count < enough) {
    const because = `has ${executions(judged.count)}: ${enough} are needed to judge`;
    return { kind: VerdictKind.UNDECIDED, evidence, because };
  }
  if (share >= failingShare && (controlShare === undefined || share >= failingTimesControl * controlShare)) {
    return { kind: VerdictKind.FAILING, evidence, because: versus === undefined ? failed : `${failed}; ${versus}` };
  }
  if (ratio !== undefined && ratio >= slowerRatio) {
    const because =
      `takes ${times(ratio)} as long as version ${compared!.version}: ` +
      `median ${ms(judged.medianMs!)} of ${judged.completed} against ${ms(compared!.executions.medianMs!)} of ${compared!.executions.completed}`;
    return { kind: VerdictKind.SLOWER, evidence, because };
  }
  if (share >= failingShare) {
    return { kind: VerdictKind.HEALTHY, evidence, because: `${failed}, but ${versus}: not the doing of this version` };
  }
  const speed = ratio === undefined ? "" : `, and takes ${times(ratio)} as long as version ${compared!.version}`;
  return { kind: VerdictKind.HEALTHY, evidence, because: `${failed}${speed}: nothing is the matter` };
}

export const isBad = (kind: VerdictKind): boolean => kind === VerdictKind.FAILING || kind === VerdictKind.SLOWER;

function durationRatio(judged: Executions, control: Control | undefined): number | undefined {
  if (control === undefined || !control.earlier) return undefined;
  if (judged.completed < enough || control.executions.completed < enough) return undefined;
  const base = control.executions.medianMs;
  // Work of no measurable duration has no ratio.
  return judged.medianMs === undefined || base === undefined || base === 0 ? undefined : judged.medianMs / base;
}

const percent = (share: number): string => `${Number((share * 100).toFixed(1))} %`;
const times = (ratio: number): string => `${Number(ratio.toPrecision(3))} times`;
const ms = (value: number): string => `${Number(value.toPrecision(3))} ms`;
const executions = (count: number): string => (count === 1 ? "1 execution" : `${count} executions`);
