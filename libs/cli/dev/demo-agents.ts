import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { callJson } from "./call-json.ts";

interface ListAgentsAnswer {
  readonly agents?: readonly { readonly capabilities?: readonly { readonly name?: string }[] }[];
}

const method = "legion.registry.v1.RegistryService/ListAgents";

export const demoCapabilities = ["greet", "wordcount", "sleep", "fail"] as const;

/** Resolves when agents with a session offer all of the capabilities. Asks every 20 to 50 ms. @throws when the signal aborts. */
export async function whenOffered(
  registryHttpPort: number,
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 1.5, 50)) {
    signal.throwIfAborted();
    const offered = await capabilities(registryHttpPort, signal).catch((): string[] => []);
    if (wanted.every((name) => offered.includes(name))) return;
    await sleep(systemClock, pauseMs, signal);
  }
}

async function capabilities(registryHttpPort: number, signal: AbortSignal): Promise<string[]> {
  // Agents of an earlier run, which have no session, would fill the page.
  const filter = { states: ["AGENT_STATE_ACTIVE"], pageSize: 1_000 };
  const { agents = [] } = await callJson<ListAgentsAnswer>(registryHttpPort, method, filter, signal);
  return agents.flatMap((agent) => agent.capabilities ?? []).map(({ name = "" }) => name);
}
