import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { toLegionError } from "#libs/client/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { orUnreachable, type ServiceName } from "./mesh.ts";

const timeoutMs = 10_000;

/**
 * Asks a service, at whichever of its addresses answers first.
 * @throws LegionError with what it refuses, CliError when nobody answers
 */
export async function callService<S extends DescService, T>(
  service: { readonly name: ServiceName; readonly desc: S; readonly targets: readonly string[] },
  call: (client: Client<S>, settings: { timeoutMs: number }) => Promise<T>,
): Promise<T> {
  let failure: unknown;
  for (const target of service.targets) {
    await using channel = new GrpcChannel(target);
    try {
      return await call(createClient(service.desc, channel), { timeoutMs });
    } catch (error) {
      failure = error;
      // What was refused is refused at the other addresses as well.
      if (toLegionError(error).code !== "UNAVAILABLE") break;
    }
  }
  throw orUnreachable(failure, service.name, service.targets);
}
