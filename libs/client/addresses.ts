import { hostPortList, hostPortText, integer, readEnv } from "#libs/config/env.ts";
import type { HostPort } from "#libs/config/env.ts";

/** Where the four services answer gRPC: each a list of `host:port`. */
export interface MeshAddresses {
  readonly registry: readonly string[];
  readonly dispatcher: readonly string[];
  readonly ratelimit: readonly string[];
  readonly watchdog: readonly string[];
}

export const defaultPortBase = 7400;

/** The environment a client of the mesh reads. */
export const meshEnv = {
  LEGION_REGISTRY: hostPortList({ doc: "where the Registry answers" }),
  LEGION_DISPATCHER: hostPortList({ doc: "where the Dispatcher answers" }),
  LEGION_RATELIMIT: hostPortList({ doc: "where the RateLimit service answers" }),
  LEGION_WATCHDOG: hostPortList({ doc: "where the Watchdog answers" }),
  LEGION_PORT_BASE: integer({
    doc: "the services answer on the four ports after it",
    default: defaultPortBase,
    min: 0,
    max: 65_521,
  }),
} as const;

/**
 * A `portBase` that is given counts more than the environment, and an address there more than LEGION_PORT_BASE. Default: the four ports after 7400,
 * on this machine.
 * @throws ConfigError
 */
export function meshAddresses(env: NodeJS.ProcessEnv = process.env, portBase?: number): MeshAddresses {
  const values = readEnv(meshEnv, env);
  const base = portBase ?? values.LEGION_PORT_BASE;
  const at = (given: readonly HostPort[] | undefined, offset: number): string[] =>
    given === undefined || portBase !== undefined ? [`127.0.0.1:${base + offset}`] : given.map(hostPortText);
  return {
    registry: at(values.LEGION_REGISTRY, 1),
    dispatcher: at(values.LEGION_DISPATCHER, 2),
    ratelimit: at(values.LEGION_RATELIMIT, 3),
    watchdog: at(values.LEGION_WATCHDOG, 4),
  };
}

/**
 * "host:port", several separated by commas.
 * @throws ConfigError that names `name`
 */
export function parseTargets(name: string, text: string): string[] {
  const spec = { [name]: hostPortList({ doc: "where the service answers", required: true }) };
  return (readEnv(spec, { [name]: text })[name] ?? []).map(hostPortText);
}
