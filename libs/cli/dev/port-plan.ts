import { StartError } from "./start-error.ts";

export interface ServicePlan {
  /** The folder in services/, the schema in Postgres, the name in logs. */
  readonly name: string;
  readonly title: string;
  readonly grpcPort: number;
  readonly httpPort: number;
}

export const defaultPortBase = 7400;
const titles = ["Registry", "Dispatcher", "RateLimit", "Watchdog"] as const;
const highestBase = 65_535 - 10 - titles.length;

/**
 * Where the four services listen: gRPC on `portBase` + 1 to 4, HTTP on `portBase` + 11 to 14.
 * @throws StartError when that is outside of what ports can be.
 */
export function planPorts(portBase: number): ServicePlan[] {
  if (!Number.isInteger(portBase) || portBase < 0 || portBase > highestBase) {
    throw new StartError(
      `--port-base ${portBase} cannot be: expected an integer from 0 to ${highestBase}, such as 7400.`,
    );
  }
  return titles.map((title, index) => ({
    name: title.toLowerCase(),
    title,
    grpcPort: portBase + 1 + index,
    httpPort: portBase + 11 + index,
  }));
}

/** The variables by which services, agents and the `legion` command find the mesh: LEGION_REGISTRY and so on. */
export function meshVariables(services: readonly Pick<ServicePlan, "name" | "grpcPort">[]): Record<string, string> {
  const addresses: Record<string, string> = {};
  for (const { name, grpcPort } of services) {
    const variable = `LEGION_${name.toUpperCase()}`;
    const before = addresses[variable];
    addresses[variable] = `${before === undefined ? "" : `${before},`}127.0.0.1:${grpcPort}`;
  }
  return addresses;
}
