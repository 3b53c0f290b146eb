import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type { Registry } from "../engine/registry.ts";
import { findVersion } from "./list-versions.ts";
import { versionRefusal } from "./version-refusal.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["advanceVersion"];

export function advanceVersionHandler(registry: Registry): Handler {
  return async ({ namespace, name, version, revision, reason }) => {
    const key = { namespace: namespace || "default", name, version };
    const refusal = await whileConnected(() => registry.rollouts.advance(key, revision, reason));
    if (refusal !== undefined) throw versionRefusal(refusal, key);
    return { version: await findVersion(registry, key) };
  };
}
