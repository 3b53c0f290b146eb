const mostTries = 5;

/** Runs a statement again that Postgres ended to resolve a deadlock: it left nothing behind. */
export async function afterDeadlocks<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code !== "40P01" || tries === mostTries) throw error;
    }
  }
}
