/**
 * Whether version `a` came before `b`: by their numbers when both are dotted numbers (1.9 before 1.10, a leading v does not
 * count), else by which was seen first.
 */
export function isEarlier(a: SeenVersion, b: SeenVersion): boolean {
  const left = numbersOf(a.version);
  const right = numbersOf(b.version);
  if (left !== undefined && right !== undefined) {
    for (let i = 0; i < Math.max(left.length, right.length); i++) {
      const difference = (left[i] ?? 0) - (right[i] ?? 0);
      if (difference !== 0) return difference < 0;
    }
  }
  return a.firstSeen < b.firstSeen;
}

export interface SeenVersion {
  readonly version: string;
  /** Grows with each version that is seen. */
  readonly firstSeen: number;
}

function numbersOf(version: string): number[] | undefined {
  return /^v?\d{1,9}(\.\d{1,9})*$/.test(version) ? version.replace("v", "").split(".").map(Number) : undefined;
}
