import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Colours where a person sees them: on a terminal that is not told otherwise by NO_COLOR. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream): string {
  return styleText(style, text, { stream });
}

/** Text from elsewhere, fit for a terminal: what could move the cursor or change colours is made visible. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- those are what it is about
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** The same on one line. */
export function oneLine(text: string): string {
  return printable(text.replaceAll(/\s+/g, " ").trim());
}

/** Data, on standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** One JSON document, on standard output. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, process.stdout.isTTY ? 2 : undefined));
}

/** News for people, on standard error. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** How wide lines may be; undefined where nobody looks and nothing is to be cut. */
export function columnsOf(stream: NodeJS.WriteStream): number | undefined {
  return stream.isTTY ? stream.columns || 80 : undefined;
}

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
