import { lengthText } from "./time-text.ts";

export interface Progress {
  readonly done: number;
  readonly failed: number;
  readonly elapsedMs: number;
  /** Of the whole input, 0 to 1; undefined where its size is not known. */
  readonly fraction: number | undefined;
}

const barWidth = 20;

/** `[########            ]  41 %  8,200 done  6,250/s  ETA 2 s` */
export function progressText({ done, failed, elapsedMs, fraction }: Progress): string {
  const parts = [`${done.toLocaleString("en")} done`, `${rate(done + failed, elapsedMs)}/s`];
  if (failed > 0) parts.push(`${failed.toLocaleString("en")} failed`);
  if (fraction === undefined) return parts.join("  ");
  const filled = Math.round(fraction * barWidth);
  const bar = `[${"#".repeat(filled)}${" ".repeat(barWidth - filled)}] ${String(Math.floor(fraction * 100)).padStart(3)} %`;
  // A guess from less than a hundredth of the way, or less than a second of it, would jump about.
  if (fraction >= 0.01 && fraction < 1 && elapsedMs >= 1_000) {
    parts.push(`ETA ${lengthText((elapsedMs / fraction) * (1 - fraction))}`);
  }
  return `${bar}  ${parts.join("  ")}`;
}

/** `20,000 done, 0 failed, 3.2 s, 6,250/s` */
export function summaryText({ done, failed, elapsedMs }: Progress): string {
  const counts = `${done.toLocaleString("en")} done, ${failed.toLocaleString("en")} failed`;
  return `${counts}, ${(elapsedMs / 1_000).toFixed(1)} s, ${rate(done + failed, elapsedMs)}/s`;
}

function rate(count: number, elapsedMs: number): string {
  return elapsedMs <= 0 ? "0" : Math.round((count * 1_000) / elapsedMs).toLocaleString("en");
}
