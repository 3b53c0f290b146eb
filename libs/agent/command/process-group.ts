const living = new Set<ProcessGroup>();
let watching = false;

/** Also at an exit that nobody planned: there is no time for manners then. */
function killAtExit(): void {
  if (watching) return;
  watching = true;
  process.on("exit", () => living.forEach((group) => group.kill()));
}

/** A process that leads a process group of its own, with all it has started, as far as that has not left the group. */
export class ProcessGroup implements Disposable {
  readonly #id: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(leaderPid: number) {
    this.#id = leaderPid;
    living.add(this);
    killAtExit();
  }

  /** SIGTERM, and after `graceMs` SIGKILL for what is left, which `onKill` hears of. */
  terminate(graceMs: number, onKill: () => void): void {
    this.#signal("SIGTERM");
    this.#timer ??= setTimeout(() => {
      this.kill();
      onKill();
    }, graceMs);
  }

  kill(): void {
    this.#signal("SIGKILL");
  }

  /** Kills what is left. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.kill();
    living.delete(this);
  }

  #signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#id, signal);
    } catch (error) {
      // Nobody is left, or (EPERM) only processes that have taken another user's rights, which nothing here can end.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ESRCH" && code !== "EPERM") throw error;
    }
  }
}
