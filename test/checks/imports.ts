import { posix } from "node:path";

export interface Import {
  /** A path from the root of the repository (`libs/db/pool.ts`) or the name of a package, with what follows it. */
  readonly target: string;
  /** Whether it is a file of the repository and not a package. */
  readonly local: boolean;
  readonly typeOnly: boolean;
}

/** What a TypeScript file imports, statically, dynamically, as a type or by exporting it again. */
export function importsOf(path: string, source: string): Import[] {
  // Strings stand for themselves by number, so that what looks like an import inside one is none.
  const strings: string[] = [];
  const code = rewrite(source, (text) => `"${strings.push(text.slice(1, -1)) - 1}"`);
  const found: Import[] = [];
  const take = (pattern: RegExp, typeOnly: (clause: string) => boolean): void => {
    for (const { groups } of code.matchAll(pattern)) {
      const from = strings[Number(groups?.["from"])] ?? "";
      found.push({
        target: resolve(path, from),
        local: /^[.#]/.test(from),
        typeOnly: typeOnly(groups?.["clause"] ?? ""),
      });
    }
  };
  take(/(?:^|;)\s*(?:import|export)\b(?<clause>[^;"`()=]*?)\bfrom\s*"(?<from>\d+)"/gm, isTypeClause);
  take(/(?:^|;)\s*import\s*"(?<from>\d+)"/gm, () => false);
  take(/\bimport\(\s*"(?<from>\d+)"/g, () => false);
  return found;
}

// `type …`, or braces in which every name is marked as one.
function isTypeClause(clause: string): boolean {
  if (/^\s+type\b/.test(clause)) return true;
  const names = /^\s*\{([^}]*)\}\s*$/
    .exec(clause)?.[1]
    ?.split(",")
    .filter((name) => name.trim() !== "");
  return names !== undefined && names.length > 0 && names.every((name) => /^\s*type\s/.test(name));
}

function resolve(path: string, specifier: string): string {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(path), specifier);
  return specifier.startsWith("#") ? specifier.slice(1) : specifier;
}

/** The source with its comments blanked. */
export function withoutComments(source: string): string {
  return rewrite(source, (text) => text);
}

/** Blanks the comments and replaces each string, quotes included, with what `string` makes of it. */
function rewrite(source: string, string: (text: string) => string): string {
  // A string ends at the end of its line at the latest, so a quote in a regular expression does not swallow the file.
  const tokens = /"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`(?:[^`\\]|\\[^])*`?|\/\/[^\n]*|\/\*[^]*?\*\//g;
  return source.replace(tokens, (token) => (token.startsWith("/") ? token.replace(/[^\n]/g, " ") : string(token)));
}
