import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type { VersionSchema } from "#libs/proto/legion/registry/v1/version_pb.ts";
import type { Registry } from "../engine/registry.ts";
import { listVersions, type VersionRow } from "../sql/list-versions.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["listVersions"];

export function listVersionsHandler({ pool }: Registry): Handler {
  return async ({ namespace, name }) => {
    const rows = await whileConnected(() => listVersions(pool, namespace || "default", name));
    return { versions: rows.map(versionMessage) };
  };
}

export function versionMessage(row: VersionRow): MessageInitShape<typeof VersionSchema> {
  const { namespace, name, version, weight, sessions } = row;
  return { namespace, name, version, weight, sessions, firstSeenTime: timestampFromDate(row.first_seen_time) };
}
