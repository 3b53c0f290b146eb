import { type Ecosystem, exactVersion, normalName, quote, refused } from "./package-names.ts";

/** A name, of which every exact version may be installed, or a name with the versions that may. */
export type AllowedPackage = string | { readonly name: string; readonly versions: readonly string[] };

export interface ExactPackage {
  /** In normal form, as it is on the list. */
  readonly name: string;
  readonly version: string;
}

// A message is for people; they have the list.
const maxListed = 20;

/** What may be installed. */
export class AllowList {
  readonly ecosystem: Ecosystem;
  readonly #versions = new Map<string, ReadonlySet<string> | undefined>();

  /** @throws TypeError if an entry is not exact, or two entries are the same package. */
  constructor(ecosystem: Ecosystem, allow: readonly AllowedPackage[]) {
    if (ecosystem !== "npm" && ecosystem !== "pypi") throw new TypeError(`There is no ecosystem ${String(ecosystem)}.`);
    this.ecosystem = ecosystem;
    for (const entry of allow) this.#add(entry);
  }

  #add(entry: AllowedPackage): void {
    try {
      const name = normalName(this.ecosystem, typeof entry === "string" ? entry : entry.name);
      if (this.#versions.has(name)) throw new TypeError(`The allow list has ${name} twice.`);
      if (typeof entry !== "string" && entry.versions.length === 0) {
        throw new TypeError(
          `The allow list has ${name} with no versions; without "versions" every version is allowed.`,
        );
      }
      const versions = typeof entry === "string" ? undefined : entry.versions;
      const exact = versions?.map((version) => exactVersion(this.ecosystem, version));
      this.#versions.set(name, exact && new Set(exact));
    } catch (error) {
      if (error instanceof TypeError) throw error;
      throw new TypeError(`The allow list has an entry that cannot be used. ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /**
   * What is to be installed, in the list's own words.
   * @throws TaskError `PACKAGE_REFUSED`
   */
  check(name: unknown, version: unknown): ExactPackage {
    const normal = normalName(this.ecosystem, name);
    if (!this.#versions.has(normal)) {
      const message = `The package ${quote(normal)} is not on the allow list; allowed: ${listed(this.#versions.keys())}.`;
      throw refused(message, { name: normal });
    }
    const exact = exactVersion(this.ecosystem, version);
    const versions = this.#versions.get(normal);
    if (versions !== undefined && !versions.has(exact)) {
      throw refused(`${normal} ${exact} is not on the allow list; allowed of it: ${listed(versions)}.`, {
        name: normal,
        version: exact,
      });
    }
    return { name: normal, version: exact };
  }
}

function listed(words: Iterable<string>): string {
  const all = [...words].sort();
  if (all.length === 0) return "nothing, the list is empty";
  const more = all.length > maxListed ? ` and ${all.length - maxListed} more` : "";
  return `${all.slice(0, maxListed).join(", ")}${more}`;
}
