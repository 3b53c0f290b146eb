import type { Version } from "#libs/proto/legion/registry/v1/version_pb.ts";
import { VerdictKindSchema, type VersionReport } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { enumName } from "../render-json.ts";
import { columnsOf, cut, oneLine, paint, printable } from "../terminal.ts";
import { msText, stageText } from "../version-text.ts";

export interface BoardRow {
  readonly version: Version;
  readonly report: VersionReport | undefined;
  readonly perSecond: number;
  readonly isBad: boolean;
}

export interface BoardTotals {
  readonly elapsedMs: number;
  readonly completed: number;
  readonly failed: number;
}

const barWidth = 24;

/** Rows that are kept up to date on a terminal, below notes that stay; elsewhere each state is a line of its own. */
export class Board implements Disposable {
  readonly #stream = process.stdout;
  #rows: string[] = [];
  #elapsedMs = 0;

  note(text: string): void {
    this.#clear();
    const time = `${(this.#elapsedMs / 1_000).toFixed(1).padStart(5)} s`;
    this.#stream.write(`${paint("bold", time, this.#stream)}  ${printable(text)}\n`);
    this.#show();
  }

  draw(rows: readonly BoardRow[], { elapsedMs, completed, failed }: BoardTotals): void {
    this.#clear();
    this.#elapsedMs = elapsedMs;
    const most = Math.max(1, ...rows.map(({ perSecond }) => perSecond));
    const time = `${(elapsedMs / 1_000).toFixed(1).padStart(5)} s`;
    this.#rows = rows.map((row) => `${time}  ${this.#line(row, most)}`);
    this.#rows.push(`${time}  ${completed} tasks completed, ${failed} failed`);
    this.#show();
    if (!this.#stream.isTTY) this.#rows = [];
  }

  #line({ version, report, perSecond, isBad }: BoardRow, most: number): string {
    const bar = "█".repeat(Math.round((perSecond / most) * barWidth)).padEnd(barWidth, "·");
    const verdict = report?.verdict === undefined ? "" : enumName(VerdictKindSchema, report.verdict.kind).toLowerCase();
    const { weight } = version;
    const facts = [
      `version ${oneLine(version.version)}`,
      stageText(version).padEnd(7),
      `weight ${String(weight).padStart(3)}`,
      bar,
      `${String(perSecond).padStart(3)}/s`,
      `p50 ${msText(report?.p50).padStart(7)}`,
    ].join("  ");
    return `${cut(facts, columnsOf(this.#stream) ?? Infinity)}  ${isBad ? paint("red", verdict, this.#stream) : verdict}`;
  }

  #show(): void {
    for (const row of this.#rows) this.#stream.write(`${row}\n`);
  }

  #clear(): void {
    if (this.#stream.isTTY && this.#rows.length > 0) this.#stream.write(`\u001b[${this.#rows.length}A\u001b[J`);
  }

  [Symbol.dispose](): void {
    this.#rows = [];
  }
}
