import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

const defaultMaxBytes = 10 * 2 ** 20;

/**
 * A service's log on disk: the present run in `path`, what was before it in `path` + ".1", each at most 10 MiB, so that at
 * least the last 10 MiB can be looked up.
 */
export class LogFile implements Disposable {
  readonly #path: string;
  readonly #maxBytes: number;
  #fd: number;
  #bytes = 0;

  constructor(path: string, maxBytes = defaultMaxBytes) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, "a");
    this.#bytes = fstatSync(this.#fd).size;
    if (this.#bytes > 0) this.#rotate();
  }

  /** Written at once, so that it is there when we are killed. */
  add(line: string): void {
    const text = `${line}\n`;
    if (this.#bytes > 0 && this.#bytes + text.length > this.#maxBytes) this.#rotate();
    this.#bytes += writeSync(this.#fd, text);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.#path, `${this.#path}.1`);
    this.#fd = openSync(this.#path, "a");
    this.#bytes = 0;
  }
}
