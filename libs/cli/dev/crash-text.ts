const shownFrames = 2;

/**
 * Makes a crash that Node printed short: of the source excerpt, the message, the stack and the error's properties, the
 * message and the first two frames outside of Node stay. Feed it the lines in order.
 */
export class CrashText {
  #within: "source" | "properties" | undefined;
  #frames = 0;

  /** Whether this line is worth a line on a screen. */
  isTelling(line: string): boolean {
    if (this.#within !== undefined) {
      const end = this.#within === "source" ? /^\s*$/ : /^\}/;
      if (end.test(line)) this.#within = undefined;
      return false;
    }
    if (/^(file:\/\/|node:|\/).*:\d+$/.test(line)) {
      this.#within = "source";
      return false;
    }
    if (!/^\s+at /.test(line)) {
      this.#frames = 0;
      return !/^\s*$|^Node\.js v\d/.test(line);
    }
    if (line.endsWith(" {")) this.#within = "properties";
    return !/\(node:|at node:|at async node:/.test(line) && ++this.#frames <= shownFrames;
  }
}
