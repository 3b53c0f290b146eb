// One press of Ctrl-C under `npm start` arrives twice: from the terminal, and from npm, which passes it on.
const samePressMs = 500;

export interface Interrupts extends Disposable {
  /** Resolves at the first SIGINT, SIGTERM or SIGHUP. */
  readonly first: Promise<void>;
}

/**
 * Listens for being told to stop; `onSecond` is called when that is said again, an echo of the first left aside. With
 * LEGION_SUPERVISED=1 the end of standard input counts too, as with the services.
 */
export function listenForInterrupts(env: NodeJS.ProcessEnv, onSecond: () => void): Interrupts {
  const { promise: first, resolve } = Promise.withResolvers<void>();
  let firstMs: number | undefined;
  const listener = (): void => {
    if (firstMs !== undefined && performance.now() - firstMs > samePressMs) onSecond();
    firstMs ??= performance.now();
    resolve();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, listener);
  const supervised = env["LEGION_SUPERVISED"] === "1";
  if (supervised) process.stdin.once("close", resolve).once("end", resolve).once("error", resolve).resume();
  return {
    first,
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, listener);
      if (supervised) process.stdin.destroy();
    },
  };
}
