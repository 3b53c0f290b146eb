export const languageNames = ["typescript", "python", "go", "java", "rust"] as const;
export type LanguageName = (typeof languageNames)[number];

/** A language whose example agent and client are tried. */
export interface Language {
  readonly name: LanguageName;
  /** Why it cannot run on this machine; undefined if it can. */
  whyNot(): string | undefined;
  /** Builds what is not built, outside of the checkout; see harness/build-cache.ts. */
  prepare(): Promise<Programs>;
}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** What the program itself needs, such as the path of its libraries. Addresses and names are given by the suite. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Programs {
  /** An agent by the command-line contract of README.md. */
  readonly agent: Command;
  readonly client: Command;
}
