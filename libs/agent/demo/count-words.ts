export interface WordCount {
  /** Newlines, as `wc -l` counts. */
  readonly lines: number;
  /** Runs of characters that are not white space. */
  readonly words: number;
  /** Of the text in UTF-8. */
  readonly bytes: number;
  /** The most frequent words, at most five; of equally frequent ones those that came first. Case counts. */
  readonly top: readonly { readonly word: string; readonly count: number }[];
}

export function countWords(text: string): WordCount {
  const counts = new Map<string, number>();
  let words = 0;
  for (const [word] of text.matchAll(/\S+/g)) {
    words++;
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  let lines = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  const top = Array.from(counts, ([word, count]) => ({ word, count }))
    .toSorted((a, b) => b.count - a.count)
    .slice(0, 5);
  return { lines, words, bytes: Buffer.byteLength(text), top };
}
