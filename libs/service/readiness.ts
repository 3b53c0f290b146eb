/** Says why the service is not ready, in a few words, or undefined when it is. */
export type ReadinessCheck = () => string | undefined;

/** What keeps a service from being ready. */
export class Readiness {
  readonly #checks = new Map<string, ReadinessCheck>();

  /** A later check of the same name takes the place of an earlier one. */
  add(name: string, check: ReadinessCheck): void {
    this.#checks.set(name, check);
  }

  remove(name: string): void {
    this.#checks.delete(name);
  }

  /** `name: why`, of each check that has something to say; empty when the service is ready. */
  problems(): string[] {
    const problems: string[] = [];
    for (const [name, check] of this.#checks) {
      const problem = check();
      if (problem !== undefined) problems.push(`${name}: ${problem}`);
    }
    return problems;
  }
}
