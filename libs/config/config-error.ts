/** Settings that cannot be used. Its message is all that whoever set them needs: no stack belongs beside it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly expected = true;
  readonly exitCode = 2;
  /** One sentence each. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? "1 setting" : `${problems.length} settings`;
    super(`${count} cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}
