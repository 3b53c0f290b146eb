const signalNumbers = { SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Resolves with the reason when the process is told to stop. A second signal means now: it calls `exit` with the code a
 * shell gives to a process killed by that signal.
 * @param supervised whether the end of standard input counts as being told.
 */
export function whenToldToStop(supervised: boolean, exit: (code: number) => void): Promise<string> {
  return new Promise((resolve) => {
    let told = false;
    for (const [signal, number] of Object.entries(signalNumbers)) {
      process.on(signal, () => {
        if (told) exit(128 + number);
        told = true;
        resolve(signal);
      });
    }
    if (!supervised) return;
    // Does not count as a first signal: a supervisor closes the pipe and signals, in either order, and means one thing.
    const gone = (): void => resolve("the supervisor is gone");
    process.stdin.once("end", gone).once("close", gone).once("error", gone).resume();
  });
}
