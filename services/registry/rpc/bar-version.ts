import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type { Registry } from "../engine/registry.ts";
import { findVersion } from "./list-versions.ts";
import { versionRefusal } from "./version-refusal.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["barVersion"];

export function barVersionHandler(registry: Registry): Handler {
  return async ({ namespace, name, version, maxShare, reason, incidentId, revision, notTo, force }) => {
    const key = { namespace: namespace || "default", name, version };
    const how = { reason: reason || "A person barred it.", incidentId, revision, notTo, force };
    const answer = await whileConnected(() => registry.rollouts.bar(key, how, maxShare || 100));
    if (typeof answer === "string") throw versionRefusal(answer, key);
    return { version: await findVersion(registry, key), remainingSessions: answer };
  };
}
