import { existsSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { readText, root } from "./repository.ts";
import { Slugs } from "./slugs.ts";

/** The anchors of a page: those of its headings, and those that it sets itself. */
export function anchorsOf(markdown: string): Set<string> {
  const slugs = new Slugs();
  const text = withoutCode(markdown);
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => slugs.of(heading!));
  const set = [...text.matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, id]) => id!);
  return new Set([...headings, ...set]);
}

/** Links of a page to files and headings that are not there, a sentence each. Links to other sites are not followed. */
export function brokenLinks(path: string, markdown: string, read: (path: string) => string | undefined): string[] {
  const problems: string[] = [];
  const inline = /(?<!`)\[[^\]]*\]\(([^)\s]+)\)/g;
  for (const [, target] of withoutCode(markdown).matchAll(inline)) {
    if (/^[a-z]+:/.test(target!)) continue;
    const [file = "", anchor] = target!.split("#");
    const where = file === "" ? path : join(dirname(path), decodeURI(file));
    const text = file === "" ? markdown : read(where);
    if (text === undefined) problems.push(`${path} links to ${target}: there is no ${where}`);
    else if (anchor !== undefined && where.endsWith(".md") && !anchorsOf(text).has(anchor))
      problems.push(`${path} links to ${target}: ${where} has no such heading`);
  }
  return problems;
}

/** The text of a file of the repository; empty for a folder; undefined if it is not there, or outside. */
export function readIfAny(path: string): string | undefined {
  const absolute = join(root, path);
  if (relative(root, absolute).startsWith("..") || !existsSync(absolute)) return undefined;
  return statSync(absolute).isDirectory() ? "" : readText(path);
}

function withoutCode(markdown: string): string {
  return markdown
    .replaceAll(/^( *)(```|~~~)[^]*?^\1\2 *$/gm, "")
    .replaceAll(/(?<!`)`[^`\n]+`(?!`)/g, (code) => code.replaceAll(/[[\]()#]/g, " "));
}
