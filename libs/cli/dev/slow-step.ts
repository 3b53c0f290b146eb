import type { Screen } from "./screen.ts";

/** Runs one step of the start; if it takes longer than a second, a line says what it does. */
export async function slowStep<T>(screen: Screen, text: string, step: Promise<T>, afterMs = 1_000): Promise<T> {
  const timer = setTimeout(() => screen.tell({ event: "waiting", text: `${text} …` }), afterMs);
  try {
    return await step;
  } finally {
    clearTimeout(timer);
  }
}
