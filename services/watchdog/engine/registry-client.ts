import type { Client } from "@connectrpc/connect";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { isUnavailable } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";

type Methods = Pick<Client<typeof RegistryService>, "listVersions" | "advanceVersion" | "barVersion" | "ejectAgent">;

/** The Registries, of which the one that answered last is asked; one that does not answer makes it the turn of the next. */
export class RegistryClient implements Methods, AsyncDisposable {
  readonly listVersions: Methods["listVersions"];
  readonly advanceVersion: Methods["advanceVersion"];
  readonly barVersion: Methods["barVersion"];
  readonly ejectAgent: Methods["ejectAgent"];
  readonly #channels: GrpcChannel[];

  constructor(targets: readonly string[]) {
    this.#channels = targets.map((target) => new GrpcChannel(target));
    const clients = this.#channels.map((channel) => createClient(RegistryService, channel));
    let turn = 0;
    const ask = async <T>(call: (client: Methods) => Promise<T>): Promise<T> => {
      for (let tried = 1; ; tried++) {
        const client = clients[turn % clients.length]!;
        try {
          return await call(client);
        } catch (error) {
          if (!isUnavailable(error) || tried >= clients.length) throw error;
          turn++;
        }
      }
    };
    this.listVersions = (...args) => ask((client) => client.listVersions(...args));
    this.advanceVersion = (...args) => ask((client) => client.advanceVersion(...args));
    this.barVersion = (...args) => ask((client) => client.barVersion(...args));
    this.ejectAgent = (...args) => ask((client) => client.ejectAgent(...args));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const channel of this.#channels) channel.close();
    return Promise.resolve();
  }
}

export type RegistryMethods = Methods;
