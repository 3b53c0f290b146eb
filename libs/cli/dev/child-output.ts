import type { OutputStream } from "./child.ts";
import { readChildLine } from "./child-line.ts";
import { CrashText } from "./crash-text.ts";
import { LastError } from "./last-error.ts";
import { LogFile } from "./log-file.ts";
import type { Screen } from "./screen.ts";

/** Where the lines of one child go: its file, the screen, and the memory of its last error. */
export class ChildOutput implements Disposable {
  readonly lastError = new LastError();
  readonly #name: string;
  readonly #screen: Screen;
  readonly #file: LogFile;
  readonly #crashText = new CrashText();

  /** @param logDir its log is `<logDir>/<name>.log`. */
  constructor(name: string, screen: Screen, logDir: string) {
    this.#name = name;
    this.#screen = screen;
    this.#file = new LogFile(`${logDir}/${name}.log`);
  }

  add(text: string, stream: OutputStream): void {
    this.#file.add(text);
    const line = readChildLine(text, stream);
    const telling = stream === "stdout" || this.#crashText.isTelling(text);
    this.lastError.add(line, telling);
    this.#screen.showChildLine(this.#name, line, telling);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
