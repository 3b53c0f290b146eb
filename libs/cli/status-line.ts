import { columnsOf, cut } from "./terminal.ts";

const clearLine = "\r\u001b[2K";

/**
 * What is going on, on standard error: on a terminal one line that is kept up to date, elsewhere a line for each
 * change.
 */
export class StatusLine implements Disposable {
  readonly #stream = process.stderr;
  #shown = "";

  /** @param transient shown on a terminal alone, such as a bar. */
  update(text: string, { transient = false }: { transient?: boolean } = {}): void {
    const columns = columnsOf(this.#stream);
    if (columns === undefined) {
      if (text !== this.#shown && !transient) this.#stream.write(`${text}\n`);
      this.#shown = text;
      return;
    }
    // The last column stays free: some terminals go to the next line when it is filled.
    const fitting = cut(text, columns - 1);
    if (fitting !== this.#shown) this.#stream.write(`${clearLine}${fitting}`);
    this.#shown = fitting;
  }

  /** A line that stays, above the status. */
  note(text: string): void {
    const shown = this.#shown;
    this.clear();
    this.#stream.write(`${text}\n`);
    if (this.#stream.isTTY && shown !== "") this.update(shown);
  }

  clear(): void {
    if (this.#stream.isTTY && this.#shown !== "") this.#stream.write(clearLine);
    this.#shown = "";
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}
