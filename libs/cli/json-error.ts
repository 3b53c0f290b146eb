export interface JsonError {
  /** From 1. */
  readonly line: number;
  /** In characters, from 1. */
  readonly column: number;
  /** Such as `expected a value but found 'nope}'`. */
  readonly problem: string;
}

interface Problem {
  readonly at: number;
  readonly expected: string;
}

const literal = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y;
const escapeSequence = /\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;

/** Where a text stops being JSON. V8 tells that for some errors only. Undefined if it is JSON. */
export function findJsonError(text: string): JsonError | undefined {
  const problem = scan(text);
  if (problem === undefined) return undefined;
  const before = text.slice(0, problem.at);
  const line = before.split("\n").length;
  const column = problem.at - (before.lastIndexOf("\n") + 1) + 1;
  const rest = text.slice(problem.at, problem.at + 12).split("\n", 1)[0] ?? "";
  const found = problem.at >= text.length ? "the text ends" : `found ${rest === "" ? "a line break" : `'${rest}'`}`;
  return { line, column, problem: `expected ${problem.expected} but ${found}` };
}

/** Without recursion: the depth of the input is not ours to choose. */
function scan(text: string): Problem | undefined {
  const open: ("{" | "[")[] = [];
  let at = skipSpace(text, 0);
  let next: "value" | "value-or-end" | "name" | "name-or-end" | "separator" = "value";
  for (;;) {
    const char = text[at];
    if (next === "separator") {
      const inside = open.at(-1);
      if (inside === undefined) return at === text.length ? undefined : { at, expected: "the end" };
      const end = inside === "{" ? "}" : "]";
      if (char === end) open.pop();
      else if (char === ",") next = inside === "{" ? "name" : "value";
      else return { at, expected: `',' or '${end}'` };
      at++;
    } else if (next === "name" || next === "name-or-end") {
      if (char === "}" && next === "name-or-end") {
        open.pop();
        next = "separator";
        at++;
      } else {
        if (char !== '"') return { at, expected: "a name in double quotes" };
        const end = stringEnd(text, at);
        if (typeof end !== "number") return end;
        at = skipSpace(text, end);
        if (text[at] !== ":") return { at, expected: "':'" };
        at++;
        next = "value";
      }
    } else if (char === "{" || char === "[") {
      open.push(char);
      next = char === "{" ? "name-or-end" : "value-or-end";
      at++;
    } else if (char === "]" && next === "value-or-end") {
      open.pop();
      next = "separator";
      at++;
    } else {
      const end = char === '"' ? stringEnd(text, at) : literalEnd(text, at);
      if (typeof end !== "number") return end;
      at = end;
      next = "separator";
    }
    at = skipSpace(text, at);
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\n\r".includes(text[at] ?? "x")) at++;
  return at;
}

function literalEnd(text: string, at: number): number | Problem {
  literal.lastIndex = at;
  return literal.test(text) ? literal.lastIndex : { at, expected: "a value" };
}

function stringEnd(text: string, start: number): number | Problem {
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at] ?? "";
    if (char === '"') return at + 1;
    if (char < " ") return { at, expected: "no control character in a string" };
    if (char !== "\\") continue;
    escapeSequence.lastIndex = at;
    if (!escapeSequence.test(text)) return { at, expected: 'an escape such as \\n, \\" or \\u00e9' };
    at = escapeSequence.lastIndex - 1;
  }
  return { at: text.length, expected: "a closing '\"'" };
}
