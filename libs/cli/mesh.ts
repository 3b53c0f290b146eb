import { meshAddresses } from "#libs/client/addresses.ts";
import type { MeshAddresses } from "#libs/client/addresses.ts";
import { Endpoints } from "#libs/client/endpoints.ts";
import type { DispatcherClient } from "#libs/client/endpoints.ts";
import { connectionError, isTransient } from "#libs/client/errors.ts";
import { callDispatcher } from "#libs/client/unary-call.ts";
import type { CallSettings } from "#libs/client/unary-call.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { probe } from "./health-check.ts";

export interface MeshFlags {
  readonly portBase?: number | undefined;
}

const callTimeoutMs = 10_000;

/** The mesh that a command talks to. */
export class Mesh implements AsyncDisposable {
  readonly addresses: MeshAddresses;
  readonly endpoints: Endpoints;

  /** @throws ConfigError when an address in the environment cannot be understood */
  constructor({ portBase }: MeshFlags) {
    this.addresses = meshAddresses(process.env, portBase);
    this.endpoints = new Endpoints(this.addresses.dispatcher);
  }

  /** @throws CliError when no Dispatcher answers */
  async assertReachable(): Promise<void> {
    let why = "";
    for (const _ of this.addresses.dispatcher) {
      const { channel } = this.endpoints;
      const { status, message } = await probe(channel);
      if (status !== "unreachable") return;
      why = message;
      this.endpoints.failed(channel);
    }
    throw unreachable("Dispatcher", this.addresses.dispatcher, why);
  }

  /** Calls the Dispatcher; one that is there but cannot answer yet is asked again for 10 s. @throws LegionError, CliError */
  async call<T>(call: (client: DispatcherClient, settings: CallSettings) => Promise<T>): Promise<T> {
    await this.assertReachable();
    try {
      const settings = { retryForMs: callTimeoutMs, timeoutMs: callTimeoutMs };
      return await callDispatcher(this.endpoints, settings, call);
    } catch (error) {
      throw orUnreachable(error, "Dispatcher", this.addresses.dispatcher);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endpoints[Symbol.asyncDispose]();
  }
}

export type ServiceName = "Registry" | "Dispatcher" | "RateLimit" | "Watchdog";

const exampleOfPort = { Registry: 7401, Dispatcher: 7402, RateLimit: 7403, Watchdog: 7404 };

/**
 * What a person is told when nobody answers.
 * @param why what the connection said
 */
export function unreachable(service: ServiceName, targets: readonly string[], why = ""): CliError {
  const asked = targets.join(" or ");
  // So it is said of a server of HTTP/1.1, which the HTTP port is.
  if (why.includes("Protocol error")) {
    const port = exampleOfPort[service];
    return new CliError(
      `What answers at ${asked} does not speak gRPC: give the ${service}'s gRPC port, such as ${port}, not its HTTP port, such as ${port + 10}.`,
      exitCodes.unreachable,
    );
  }
  const elsewhere = `--port-base or LEGION_${service.toUpperCase()} says if it is elsewhere`;
  return new CliError(
    `The mesh is not reachable: no ${service} answers at ${asked}; start one with \`npm start\` (${elsewhere}).`,
    exitCodes.unreachable,
  );
}

/** As a CliError where nobody answers, else as it is. */
export function orUnreachable(thrown: unknown, service: ServiceName, targets: readonly string[]): unknown {
  const error = connectionError(thrown, targets.join(" or "));
  return isTransient(error) && error.reason === undefined ? unreachable(service, targets, error.message) : error;
}
