import type { AllowList } from "./allow-list.ts";
import { quote } from "./package-names.ts";

/** What is read of a `package-lock.json` (lockfileVersion 2 and 3). */
export interface NpmLock {
  readonly packages?: Readonly<Record<string, NpmLockEntry>>;
}

interface NpmLockEntry {
  /** Only where the folder is called otherwise. */
  readonly name?: string;
  readonly version?: string;
  readonly link?: boolean;
  readonly hasShrinkwrap?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const folder = "node_modules/";

/** Why a resolved tree must not be installed, a sentence for each package of it that is not allowed. */
export function refusalsOf(lock: NpmLock, allowList: AllowList): string[] {
  const entries = Object.entries(lock.packages ?? {});
  return [...new Set(entries.flatMap(([path, entry]) => entryRefusals(path, entry, allowList)))];
}

function entryRefusals(path: string, entry: NpmLockEntry, allowList: AllowList): string[] {
  const name = entry.name ?? path.slice(path.lastIndexOf(folder) + folder.length);
  const refusals = elsewhere(path === "" ? "package.json" : name, entry);
  if (path === "") return refusals;
  if (!path.includes(folder) || entry.link === true) refusals.push(`${quote(path)} is a link and no package.`);
  // Its own list of what to install could call anything by an allowed name.
  if (entry.hasShrinkwrap === true) refusals.push(`${quote(name)} brings an npm-shrinkwrap.json of its own.`);
  try {
    allowList.check(name, entry.version);
  } catch (error) {
    refusals.push((error as Error).message);
  }
  return refusals;
}

/** Dependencies that are not taken from the registry by their name: URLs, repositories, files, aliases. */
function elsewhere(dependent: string, entry: NpmLockEntry): string[] {
  const { dependencies, devDependencies, optionalDependencies, peerDependencies } = entry;
  return Object.entries({ ...devDependencies, ...peerDependencies, ...optionalDependencies, ...dependencies })
    .filter(([, wanted]) => /[:/\\]/.test(wanted))
    .map(([name, wanted]) => `${quote(dependent)} wants ${quote(name)} from ${quote(wanted)}.`);
}
