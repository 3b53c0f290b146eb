import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { type Registry, weightsHint } from "../engine/registry.ts";
import { listVersions } from "../sql/list-versions.ts";
import { setVersionWeight } from "../sql/set-version-weight.ts";
import { versionMessage } from "./list-versions.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["setVersionWeight"];

export function setVersionWeightHandler(registry: Registry): Handler {
  const { pool } = registry;
  return async ({ namespace: given, name, version, weight }) => {
    const namespace = given || "default";
    const known = await whileConnected(() => setVersionWeight(pool, namespace, name, version, weight));
    if (!known) {
      throw legionError("VERSION_NOT_FOUND", `No agent ${name} of version ${version} was ever seen in ${namespace}.`);
    }
    registry.hint(weightsHint);
    registry.hint(registry.registryId);
    const [row] = await whileConnected(() => listVersions(pool, namespace, name, version));
    return row === undefined ? {} : { version: versionMessage(row) };
  };
}
