import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../harness/run-program.ts";
import type { Printed } from "./shell.ts";

/** Lists the symptoms, and links each to the page in the folder beside it that has it. */
export const indexPath = "docs/troubleshooting.md";

/** One symptom. */
export interface Entry {
  /** As the index writes it, such as `troubleshooting/starting.md#a-port-is-taken`. */
  readonly link: string;
  readonly title: string;
  /** Of its provocation; undefined when the entry names none. */
  readonly name: string | undefined;
  /** What its code blocks show: commands, and what they print. */
  readonly quotes: readonly Printed[];
}

export function readPages(): Entry[] {
  return globSync("docs/troubleshooting/*.md", { cwd: repositoryRoot })
    .toSorted()
    .flatMap((path) => readPage(path, readFileSync(join(repositoryRoot, path), "utf8")));
}

export function readPage(path: string, text: string): Entry[] {
  return text
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const title = section.slice(0, section.indexOf("\n"));
      const name = /`npx node test\/troubleshooting\/provoke\.ts ([\w-]+)`/.exec(section)?.[1];
      return { title, link: `${path.replace(/^docs\//, "")}#${anchor(title)}`, name, quotes: quotesOf(section) };
    });
}

/** As GitHub makes it of a heading. */
function anchor(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}

function quotesOf(body: string): Printed[] {
  const blocks = [...body.matchAll(/^```console\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  return blocks.flatMap((block) => {
    // A command may go on in the next line.
    const parts = block.replaceAll(/\\\n\s*/g, "").split(/^(?=[$#] )/m);
    return parts.map((part) => {
      const end = part.indexOf("\n");
      return { head: part.slice(0, end), text: part.slice(end + 1).trim() };
    });
  });
}

/**
 * What a quote of the page stands for: the words as they are, `‹…›` whatever stands there instead of an example, up to the
 * line's end, `…` anything that was left out, and a line's end that of a line after which whole lines may be left out, or
 * just a place where a long line was broken.
 */
export function pattern(quote: string): RegExp {
  const lines = quote.trim().split(/\s*\n\s*/);
  return new RegExp(lines.map(lineSource).join(String.raw`\s*(?:\n(?:[^]*?\n)?\s*)?`));
}

function lineSource(line: string): string {
  const parts = line.split(/(‹[^›]*›|…)/).map((part) => {
    if (part === "…") return "[^]*?";
    if (part.startsWith("‹")) return String.raw`[^\n]+?`;
    return part
      .split(/\s+/)
      .map((word) => RegExp.escape(word))
      .join(String.raw`\s+`);
  });
  return parts.join("");
}

/** What differs between an entry and what really happened, in a sentence; undefined if nothing does. */
export function difference(quotes: readonly Printed[], printed: readonly Printed[]): string | undefined {
  for (const [index, { head, text }] of printed.entries()) {
    const quote = quotes[index];
    if (quote === undefined) return `The page lacks\n${head}\nwhich printed\n${text}`;
    if (!new RegExp(`^${pattern(quote.head).source}$`).test(head.replaceAll(/\s+/g, " "))) {
      return `The page says\n${quote.head}\nwhere this happened:\n${head}\n${text}`;
    }
    if (!pattern(quote.text).test(text)) {
      return `The page says of ${head}\n${quote.text}\nbut this was printed:\n${text}`;
    }
  }
  const more = quotes[printed.length];
  return more === undefined ? undefined : `This of the page did not happen:\n${more.head}\n${more.text}`;
}
