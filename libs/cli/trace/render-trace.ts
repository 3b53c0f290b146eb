import { cut, oneLine } from "../terminal.ts";
import { timeText } from "./span-time.ts";
import { attemptOf } from "./task-spans.ts";
import { type TraceNode, type TraceSpan, traceTree } from "./trace-span.ts";

export type SpanKind = "failed" | "wait" | "execute" | "other";

export interface RenderOptions {
  /** Of the terminal. Undefined: nothing is cut, and there are no bars. */
  readonly width?: number | undefined;
  readonly paint?: (kind: SpanKind, text: string) => string;
}

interface Row {
  readonly tree: string;
  readonly span: TraceSpan;
  /** What stands below it, for its failure. */
  readonly indent: string;
  readonly orphan: boolean;
}

const gap = "  ";
const leastBar = 10;
const mostBar = 60;
const mostService = 24;

/** The tree: a line for each span with its service, when it began after the first one, how long it took, and a bar in proportion. */
export function renderTrace(
  spans: readonly TraceSpan[],
  { width, paint = (_, text) => text }: RenderOptions = {},
): string[] {
  const rows = traceTree(spans).flatMap((node) => rowsOf(node, "", ""));
  const beginUs = Math.min(...spans.map(({ startUs }) => startUs));
  const totalUs = Math.max(1, ...spans.map(({ startUs, durationUs }) => startUs + durationUs - beginUs));
  const cells = rows.map(({ tree, span }) => {
    const offset = span.startUs === beginUs ? "0" : `+${timeText(span.startUs - beginUs)}`;
    return [tree, cut(span.service, mostService), offset, timeText(span.durationUs)] as const;
  });
  const head = ["SPAN", "SERVICE", "START", "TIME"] as const;
  const [tree, service, start, time] = head.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  ) as [number, number, number, number];
  const others = service + start + time + 4 * gap.length;
  const treeWidth = width === undefined ? tree : Math.min(tree, Math.max(20, width - others - leastBar));
  const bar = width === undefined ? 0 : Math.min(mostBar, width - others - treeWidth);
  const line = (row: readonly [string, string, string, string]): string =>
    [
      cut(row[0], treeWidth).padEnd(treeWidth),
      row[1].padEnd(service),
      row[2].padStart(start),
      row[3].padStart(time),
    ].join(gap);
  const lines = [line(head).trimEnd()];
  for (const [index, row] of rows.entries()) {
    const { span } = row;
    const kind = kindOf(span);
    const cellsText = line(cells[index]!);
    lines.push(bar < leastBar ? cellsText : `${cellsText}${gap}${paint(kind, barOf(span, { beginUs, totalUs, bar }))}`);
    const news = [span.failed && `✗ ${span.failure || "failed"}`, row.orphan && "its parent did not come"];
    for (const text of news)
      if (text) lines.push(row.indent + paint("failed", cutTo(oneLine(text), width, row.indent)));
  }
  return lines;
}

function cutTo(text: string, width: number | undefined, indent: string): string {
  return width === undefined ? text : cut(text, Math.max(leastBar, width - indent.length));
}

function rowsOf(node: TraceNode, lead: string, below: string): Row[] {
  const { span, children, orphan } = node;
  const attempt = attemptOf(span);
  const name = oneLine(span.name) + (attempt === undefined ? "" : ` #${attempt}`);
  const last = children.length - 1;
  const rows = children.flatMap((child, index) =>
    rowsOf(child, `${below}${index === last ? "└ " : "├ "}`, `${below}${index === last ? "  " : "│ "}`),
  );
  return [{ tree: lead + name, span, indent: `${below}${children.length > 0 ? "│ " : "  "}`, orphan }, ...rows];
}

function kindOf({ name, failed }: TraceSpan): SpanKind {
  if (failed) return "failed";
  const [operation] = name.split(" ");
  return operation === "wait" || operation === "execute" ? operation : "other";
}

function barOf(
  { startUs, durationUs }: TraceSpan,
  { beginUs, totalUs, bar }: { beginUs: number; totalUs: number; bar: number },
): string {
  const cell = (us: number): number => (us / totalUs) * bar;
  const from = Math.min(bar - 1, Math.floor(cell(startUs - beginUs)));
  const to = Math.max(from + 1, Math.round(cell(startUs - beginUs + durationUs)));
  // What is far shorter than a cell does not look like one.
  return " ".repeat(from) + (cell(durationUs) < 0.5 ? "▏" : "█".repeat(to - from));
}
