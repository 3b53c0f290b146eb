import { stripVTControlCharacters, styleText } from "node:util";
import { chapters } from "./behaviours/index.ts";
import { type LanguageName, languageNames } from "./language.ts";

export type Cell = "passed" | "failed" | "skipped";

/** How each behaviour went in each language that was tried, by language and the behaviour's name. */
export type Results = ReadonlyMap<LanguageName, ReadonlyMap<string, Cell>>;

const titles: Record<LanguageName, string> = {
  typescript: "TypeScript",
  python: "Python",
  go: "Go",
  java: "Java",
  rust: "Rust",
};
const signs: Record<Cell, string> = { passed: "✓", failed: "✗", skipped: "–" };
const styles = { passed: "green", failed: ["red", "bold"], skipped: "yellow" } as const;

/** For a terminal. Colours where standard output has them. */
export function terminalTable(results: Results): string {
  const tried = languageNames.filter((language) => results.has(language));
  const width = 2 + Math.max(...Object.values(chapters).flatMap((rows) => rows.map(({ name }) => name.length)));
  const line = (head: string, cells: readonly string[]): string =>
    [head.padEnd(width), ...cells.map((cell, n) => centered(cell, titles[tried[n]!].length))].join("  ").trimEnd();
  const lines = [
    styleText(
      "bold",
      line(
        "",
        tried.map((language) => titles[language]),
      ),
    ),
  ];
  for (const [chapter, behaviours] of Object.entries(chapters)) {
    lines.push("", styleText("bold", chapter));
    for (const { name } of behaviours) {
      const cells = tried.map((language) => cellOf(results, language, name));
      lines.push(
        line(
          `  ${name}`,
          cells.map((cell) => styleText(styles[cell], signs[cell])),
        ),
      );
    }
  }
  const counts = tried.map((language) => passedOf(results, language));
  lines.push("", line(`  passed, of ${Object.values(chapters).flat().length}`, counts.map(String)));
  lines.push("", `${signs.passed} passed  ${signs.failed} failed  ${signs.skipped} not tried`);
  return lines.join("\n");
}

/** For a page. */
export function markdownTable(results: Results): string {
  const row = (...cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rows = Object.entries(chapters).flatMap(([chapter, behaviours]) => [
    row(`**${chapter}**`, ...languageNames.map(() => "")),
    ...behaviours.map(({ name }) =>
      row(name, ...languageNames.map((language) => signs[cellOf(results, language, name)])),
    ),
  ]);
  return [
    row("", ...languageNames.map((language) => titles[language])),
    row("---", ...languageNames.map(() => ":-:")),
    ...rows,
  ].join("\n");
}

export function cellOf(results: Results, language: LanguageName, behaviour: string): Cell {
  // What was not heard of has not passed: its process may have died before.
  return results.get(language)?.get(behaviour) ?? "failed";
}

function passedOf(results: Results, language: LanguageName): number {
  const behaviours = Object.values(chapters).flat();
  return behaviours.filter(({ name }) => cellOf(results, language, name) === "passed").length;
}

function centered(text: string, width: number): string {
  const free = width - stripVTControlCharacters(text).length;
  return " ".repeat(Math.floor(free / 2)) + text + " ".repeat(Math.ceil(free / 2));
}
