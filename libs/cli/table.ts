import { cut, oneLine } from "./terminal.ts";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Takes what width is left, and is cut if that is not enough. At most one column of a table. */
  readonly flexible?: boolean;
}

const gap = "  ";
const leastFlexible = 8;

/** Rows under titles, aligned. Cut to `width` if one is given. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], width?: number): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map(oneLine))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => row[index]?.length ?? 0)));
  const flexible = columns.findIndex((column) => column.flexible);
  if (width !== undefined && flexible !== -1) {
    const others = widths.reduce((sum, one, index) => (index === flexible ? sum : sum + one + gap.length), 0);
    widths[flexible] = Math.min(widths[flexible] ?? 0, Math.max(leastFlexible, width - others));
  }
  return cells.map((row) => {
    const line = row.map((cell, index) => {
      const cellWidth = widths[index] ?? 0;
      const fitting = cut(cell, cellWidth);
      return columns[index]?.align === "right" ? fitting.padStart(cellWidth) : fitting.padEnd(cellWidth);
    });
    return line.join(gap).trimEnd();
  });
}

/** Names and values, one a line, the values aligned. Those without a value are left out. */
export function facts(entries: readonly (readonly [name: string, value: string | undefined])[]): string[] {
  const present = entries.filter((entry): entry is readonly [string, string] => Boolean(entry[1]));
  const width = Math.max(...present.map(([name]) => name.length));
  return present.map(([name, value]) => `${name.padEnd(width)}${gap}${value}`);
}
