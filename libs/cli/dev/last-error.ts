import type { ChildLine } from "./child-line.ts";

const maxLength = 200;

/** Remembers why a process is likely to have ended: its last record of an error, or the error Node ended it with. */
export class LastError {
  #text: string | undefined;
  #certain = false;

  /** @param telling whether a line that is no record says something by itself, as a stack frame does not. */
  add({ text, record, level }: ChildLine, telling: boolean): void {
    if (record !== undefined) {
      if (level === "error" || level === "fatal") this.#set(describeRecord(record), true);
    } else if (level === "error" && telling && !/^\s+at /.test(text)) {
      // `SomeError: …` wins over whatever else is printed.
      const certain = /^(Uncaught )?\w*(Error|Exception)\b/.test(text);
      if (certain || !this.#certain) this.#set(text.trim(), certain);
    }
  }

  /** The text, once: the next process begins with a clean sheet. */
  take(): string | undefined {
    const text = this.#text;
    this.#text = undefined;
    this.#certain = false;
    return text;
  }

  #set(text: string, certain: boolean): void {
    this.#text = text.length > maxLength ? `${text.slice(0, maxLength - 1)}…` : text;
    this.#certain = certain;
  }
}

function describeRecord(record: Readonly<Record<string, unknown>>): string {
  const { message } = (record["err"] ?? {}) as { message?: unknown };
  const more = typeof message === "string" ? `: ${message.split("\n")[0]}` : "";
  return `${String(record["msg"])}${more}`;
}
