/** A Registry's stream, as far as the others go. */
export interface ClosableLink {
  /** Asks the Registry to find other homes for its sessions. */
  close(): void;
}

/** The links that are up. */
export class Links {
  readonly #links = new Set<ClosableLink>();
  #total = 0;
  #active = 0;
  /** Called when a Registry says how many agents there are. */
  onCounts: (total: number) => void = () => {};

  get count(): number {
    return this.#links.size;
  }

  /** Agents that have a session, as a Registry said last. */
  get activeAgents(): number {
    return this.#links.size === 0 ? 0 : this.#active;
  }

  get totalAgents(): number {
    return this.#total;
  }

  add(link: ClosableLink): void {
    this.#links.add(link);
  }

  remove(link: ClosableLink): void {
    this.#links.delete(link);
  }

  counted(total: number, active: number): void {
    if (total !== this.#total) this.onCounts(total);
    this.#total = total;
    this.#active = active;
  }

  /** Asks the Registries to find other homes for their sessions. */
  close(): void {
    for (const link of this.#links) link.close();
  }
}
