/**
 * A warning for each variable in `env` that begins with `prefix` and is not in `known`, with the nearest known name if
 * one is near. Pass the names of everything that reads this environment: a service's neighbours may share it.
 */
export function unknownVariables(env: NodeJS.ProcessEnv, known: Iterable<string>, prefix = "LEGION_"): string[] {
  const names = new Set(known);
  return Object.keys(env)
    .filter((name) => name.startsWith(prefix) && !names.has(name))
    .toSorted()
    .map((name) => {
      const near = nearest(name, names);
      return `${name} is not a setting that is known here${near === undefined ? "." : `: did you mean ${near}?`}`;
    });
}

function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A third of the name: LEGION_POOL is still told of LEGION_POOL_SIZE, and nobody of a wholly different one.
  let bestDistance = Math.ceil(name.length / 3) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein: the fewest insertions, deletions and substitutions that make `a` of `b`. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [row, charA] of a.split("").entries()) {
    const current = [row + 1];
    for (const [column, charB] of b.split("").entries()) {
      const substituted = (previous[column] ?? 0) + (charA === charB ? 0 : 1);
      current.push(Math.min(substituted, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1));
    }
    previous = current;
  }
  return previous.at(-1) ?? a.length;
}
