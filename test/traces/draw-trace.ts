import { timeText } from "#libs/cli/trace/span-time.ts";
import { attemptOf } from "#libs/cli/trace/task-spans.ts";
import { type TraceNode, type TraceSpan, traceTree } from "#libs/cli/trace/trace-span.ts";

const width = 1_000;
const left = 320;
const right = width - 16;
const top = 62;
const rowHeight = 22;
const barHeight = 12;
const indent = 13;
// Of the 12-pixel text beside bars: a guess on the safe side, for no font is known here.
const charWidth = 6.6;

// Light, then dark; told apart also by those who see few colours, by their lightness.
const colors = [
  ["#0969da", "#58a6ff"],
  ["#8250df", "#bc8cff"],
  ["#bf8700", "#d9a520"],
  ["#1a7f37", "#3fb950"],
  ["#0f7d8c", "#39c5cf"],
  ["#bc4c00", "#f0883e"],
] as const;

interface Row {
  readonly span: TraceSpan;
  readonly depth: number;
}

/** A picture of a trace, as SVG: a row for each span, its bar where and as long as it was. Light or dark as its viewer likes it. */
export function drawTrace(spans: readonly TraceSpan[], title: string): string {
  const rows = traceTree(spans).flatMap((node) => rowsOf(node, 0));
  const services = [...new Set(rows.map(({ span }) => span.service))];
  const beginUs = Math.min(...spans.map(({ startUs }) => startUs));
  const totalUs = Math.max(1, ...spans.map(({ startUs, durationUs }) => startUs + durationUs - beginUs));
  const x = (us: number): number => left + ((us - beginUs) / totalUs) * (right - left);
  const height = top + rows.length * rowHeight + 14;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title)}">`,
    style(services.length),
    `<rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    ...legend(services),
    ...axis(totalUs, height, x, beginUs),
    ...guides(rows),
    ...rows.flatMap((row, index) => drawRow(row, top + index * rowHeight, services, x)),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

function rowsOf({ span, children }: TraceNode, depth: number): Row[] {
  return [{ span, depth }, ...children.flatMap((child) => rowsOf(child, depth + 1))];
}

function style(services: number): string {
  const fills = (dark: 0 | 1): string =>
    Array.from({ length: services }, (_, index) => `.s${index} { fill: ${colors[index % colors.length]![dark]} }`).join(
      " ",
    );
  return `<style>
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.note { stroke: #ffffff; stroke-width: 4; paint-order: stroke } .page { fill: #ffffff; stroke: #d1d9e0 } .grid { stroke: #d1d9e0 } .quiet { fill: #59636e } .on { fill: #ffffff }
.bad { fill: #cf222e } .mark { fill: none; stroke: #cf222e; stroke-width: 2 } ${fills(0)}
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .note { stroke: #0d1117 } .page { fill: #0d1117; stroke: #3d444d } .grid { stroke: #3d444d } .quiet { fill: #9198a1 } .on { fill: #0d1117 }
.bad { fill: #ff7b72 } .mark { stroke: #ff7b72 } ${fills(1)}
}
</style>`;
}

function legend(services: readonly string[]): string[] {
  let at = 16;
  return services.map((service, index) => {
    const item = `<circle class="s${index}" cx="${at + 5}" cy="22" r="5"/><text x="${at + 15}" y="26">${escape(service)}</text>`;
    at += 15 + service.length * charWidth + 18;
    return item;
  });
}

function axis(totalUs: number, height: number, x: (us: number) => number, beginUs: number): string[] {
  const rough = totalUs / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const stepUs = power * (rough / power < 2 ? 2 : rough / power < 5 ? 5 : 10);
  const parts: string[] = [];
  for (let us = 0; us <= totalUs; us += stepUs) {
    const at = px(x(beginUs + us));
    parts.push(`<line class="grid" x1="${at}" y1="${top - 10}" x2="${at}" y2="${height - 12}"/>`);
    const anchor = at + 40 > right ? "end" : "middle";
    parts.push(
      `<text class="quiet" x="${at}" y="${top - 15}" text-anchor="${anchor}">${us === 0 ? "0" : timeText(us)}</text>`,
    );
  }
  return parts;
}

/** From each span down to its last child. */
function guides(rows: readonly Row[]): string[] {
  return rows.flatMap(({ depth }, index) => {
    const after = rows.slice(index + 1);
    const end = after.findIndex((row) => row.depth <= depth);
    const below = end < 0 ? after : after.slice(0, end);
    const last = below.findLastIndex((row) => row.depth === depth + 1);
    if (last < 0) return [];
    const at = px(labelX(depth) + 3);
    const from = top + index * rowHeight + rowHeight - 4;
    return [
      `<line class="grid" x1="${at}" y1="${from}" x2="${at}" y2="${top + (index + 1 + last) * rowHeight + rowHeight / 2}"/>`,
    ];
  });
}

function drawRow({ span, depth }: Row, y: number, services: readonly string[], x: (us: number) => number): string[] {
  const { name, service, startUs, durationUs, failed, failure } = span;
  const attempt = attemptOf(span);
  const label = attempt === undefined ? name : `${name} #${attempt}`;
  const from = x(startUs);
  const to = Math.max(from + 2, x(startUs + durationUs));
  const baseline = y + rowHeight / 2 + 4;
  const bar = `x="${px(from)}" y="${y + (rowHeight - barHeight) / 2}" width="${px(to - from)}" height="${barHeight}" rx="2"`;
  const note = failed ? `${timeText(durationUs)}  ✗ ${failure || "failed"}` : timeText(durationUs);
  const color = failed ? "bad" : "quiet";
  const noteWidth = note.length * charWidth;
  const [at, anchor, noteColor] =
    to + 6 + noteWidth < right
      ? [to + 6, "start", color]
      : from - 6 - noteWidth > left
        ? [from - 6, "end", color]
        : [to - 6, "end", "on"];
  return [
    `<g><title>${escape(`${label}, ${service}, ${note}`)}</title>`,
    `<text x="${px(labelX(depth))}" y="${baseline}"${failed ? ' class="bad"' : ""}>${escape(label)}</text>`,
    `<rect class="s${services.indexOf(service)}" ${bar}/>${failed ? `<rect class="mark" ${bar}/>` : ""}`,
    `<text class="${noteColor === "on" ? "on" : `note ${noteColor}`}" x="${px(at)}" y="${baseline}" text-anchor="${anchor}">${escape(note)}</text></g>`,
  ];
}

function labelX(depth: number): number {
  return 16 + depth * indent;
}

function px(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
