import { get } from "node:http";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";

/** Resolves when `/readyz` on the port answers 200. Asks every 20 to 50 ms. @throws when the signal aborts before. */
export async function whenReady(httpPort: number, signal: AbortSignal): Promise<void> {
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 1.5, 50)) {
    signal.throwIfAborted();
    if ((await readiness(httpPort)).ready) return;
    await sleep(systemClock, pauseMs, signal);
  }
}

/** What `/readyz` on the port says: whether it is ready, and its text. */
export function readiness(httpPort: number): Promise<{ readonly ready: boolean; readonly text: string }> {
  return new Promise((resolve) => {
    const no = (why: string): void => resolve({ ready: false, text: why });
    const request = get(
      { host: "127.0.0.1", port: httpPort, path: "/readyz", agent: false, timeout: 2_000 },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ ready: response.statusCode === 200, text: text.trim() }));
        response.on("error", (error) => no(error.message));
      },
    );
    request.on("timeout", () => request.destroy(new Error("it does not answer")));
    request.on("error", (error) => no(error.message));
  });
}
