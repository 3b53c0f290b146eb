import type { Command } from "commander";
import type { GetHealthResponse } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { exitCodes } from "../cli-error.ts";
import { probe } from "../health-check.ts";
import type { ProbeResult } from "../health-check.ts";
import { Mesh, unreachable } from "../mesh.ts";
import { meshOptions } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { note, oneLine, paint, print, printJson } from "../terminal.ts";
import { lengthText } from "../time-text.ts";

interface ServiceHealth extends ProbeResult {
  readonly name: string;
  readonly address: string;
}

const names = ["registry", "dispatcher", "ratelimit", "watchdog"] as const;
const timeoutMs = 5_000;

const help = `
The first line is what the Dispatcher says of the whole. Then each service is
asked itself, at each of its addresses: if one does not serve, the whole is not
healthy.

Exit codes: 0 healthy, 1 not, 3 mesh not reachable.`;

export function registerHealth(program: Command, setExitCode: (code: number) => void): void {
  meshOptions(program.command("health").summary("show how the mesh is"))
    .description("Shows how the mesh and each of its services is.")
    .addHelpText("after", help)
    .action(async (flags: MeshOptions) => {
      await using mesh = new Mesh(flags);
      const services = await Promise.all(names.flatMap((name) => mesh.addresses[name].map((at) => ask(name, at))));
      const health = await overall(mesh);
      if (health?.status === "healthy" && services.some(({ status }) => status !== "serving"))
        health.status = "degraded";
      if (flags.json) printJson(healthJson(health, services));
      else tell(health, services);
      if (health === undefined) note(unreachable("Dispatcher", mesh.addresses.dispatcher).message);
      if (health === undefined) setExitCode(exitCodes.unreachable);
      else setExitCode(health.status === "healthy" ? 0 : exitCodes.failed);
    });
}

async function ask(name: string, address: string): Promise<ServiceHealth> {
  await using channel = new GrpcChannel(address);
  return { name, address, ...(await probe(channel)) };
}

/** Undefined when no Dispatcher answers. */
async function overall(mesh: Mesh): Promise<GetHealthResponse | undefined> {
  for (const _ of mesh.addresses.dispatcher) {
    const { channel, client } = mesh.endpoints;
    try {
      return await client.getHealth({}, { timeoutMs });
    } catch {
      mesh.endpoints.failed(channel);
    }
  }
  return undefined;
}

function healthJson(health: GetHealthResponse | undefined, services: readonly ServiceHealth[]): object {
  return {
    status: health?.status ?? "unreachable",
    agents: Number(health?.agents ?? 0),
    database: health?.database ?? "unknown",
    uptime: health?.uptime ?? 0,
    services: services.map(({ name, address, status, message }) => ({
      name,
      address,
      status,
      // What the Dispatcher knows of the others says more than that they answer.
      message: message || (health?.services.find((service) => service.name === name)?.message ?? ""),
    })),
  };
}

function tell(health: GetHealthResponse | undefined, services: readonly ServiceHealth[]): void {
  if (health !== undefined) {
    const { status, agents, database, uptime } = health;
    const counted = `${agents.toLocaleString("en")} ${agents === 1n ? "agent" : "agents"}`;
    print(`${colored(status)}: ${counted}, database ${database}, up for ${lengthText(uptime * 1_000)}`);
  }
  for (const { name, address, status, message } of services) {
    const spaces = " ".repeat("not_serving".length - status.length);
    const more = message || (health?.services.find((service) => service.name === name)?.message ?? "");
    print(`${name.padEnd(10)}  ${colored(status)}${spaces}  ${address}${more === "" ? "" : `  ${oneLine(more)}`}`);
  }
}

function colored(status: string): string {
  const good = status === "healthy" || status === "serving";
  return paint(good ? "green" : status === "degraded" ? "yellow" : "red", status, process.stdout);
}
