import { freePorts } from "./free-ports.ts";

export const serviceNames = ["registry", "dispatcher", "ratelimit", "watchdog"] as const;
export type ServiceName = (typeof serviceNames)[number];

/** One process of a service. */
export interface Slot {
  readonly service: ServiceName;
  readonly name: string;
  readonly grpcPort: number;
  readonly httpPort: number;
}

/** Names and free ports for so many processes of each service, by default one. */
export async function planProcesses(replicas: Partial<Record<ServiceName, number>>): Promise<Slot[]> {
  const slots: Slot[] = [];
  for (const service of serviceNames) {
    for (let replica = 1; replica <= (replicas[service] ?? 1); replica++) {
      const [grpcPort = 0, httpPort = 0] = await freePorts(2);
      slots.push({ service, name: replica === 1 ? service : `${service}-${replica}`, grpcPort, httpPort });
    }
  }
  return slots;
}
