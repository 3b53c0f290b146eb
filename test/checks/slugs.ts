/** The anchors that GitHub gives to a page's headings, in their order. */
export class Slugs {
  readonly #seen = new Map<string, number>();

  of(heading: string): string {
    const text = heading.replaceAll(/`|\*|\[|\]\([^)]*\)/g, "");
    const slug = text
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-");
    const before = this.#seen.get(slug) ?? 0;
    this.#seen.set(slug, before + 1);
    return before === 0 ? slug : `${slug}-${before}`;
  }
}
