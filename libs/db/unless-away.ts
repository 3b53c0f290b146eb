import { isConnectionFailure } from "./connection-failure.ts";

/** Postgres being away is told once, by the pool; whoever asks regularly asks again. */
export async function unlessAway(step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!isConnectionFailure(error)) throw error;
  }
}
