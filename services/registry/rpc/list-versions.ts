import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import {
  RolloutKind,
  type RolloutPolicySchema,
  type VersionSchema,
  VersionStage,
} from "#libs/proto/legion/registry/v1/version_pb.ts";
import type { Policy, Stage } from "../core/rollout.ts";
import type { Registry } from "../engine/registry.ts";
import type { VersionKey } from "../engine/weights.ts";
import { listVersions, type VersionRow } from "../sql/list-versions.ts";
import { listPolicies, type NamedPolicy } from "../sql/policies.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["listVersions"];

export function listVersionsHandler({ pool }: Registry): Handler {
  return async ({ namespace: given, name }) => {
    const namespace = given || "default";
    const rows = await whileConnected(() => listVersions(pool, namespace, name));
    const policies = await whileConnected(() => listPolicies(pool, namespace, name));
    return {
      versions: rows.map(versionMessage),
      policies: policies.map((policy) => policyMessage(namespace, policy)),
    };
  };
}

/** One of which it is known that it exists. */
export async function findVersion(
  { pool }: Registry,
  { namespace, name, version }: VersionKey,
): Promise<MessageInitShape<typeof VersionSchema>> {
  const [row] = await whileConnected(() => listVersions(pool, namespace, name, version));
  return row === undefined ? { namespace, name, version } : versionMessage(row);
}

const stages: Record<Stage, VersionStage> = {
  // Its first agent is saying hello.
  new: VersionStage.UNSPECIFIED,
  canary: VersionStage.CANARY,
  current: VersionStage.CURRENT,
  standby: VersionStage.STANDBY,
  fixed: VersionStage.FIXED,
  barred: VersionStage.BARRED,
};

const kinds: Record<Policy["kind"], RolloutKind> = {
  canary: RolloutKind.CANARY,
  immediate: RolloutKind.IMMEDIATE,
  manual: RolloutKind.MANUAL,
};

function versionMessage(row: VersionRow): MessageInitShape<typeof VersionSchema> {
  const { namespace, name, version, weight, sessions, reason, revision, trial } = row;
  return {
    namespace,
    name,
    version,
    weight,
    sessions,
    reason,
    revision,
    trial,
    stage: stages[row.stage],
    barred: row.stage === "barred",
    incidentId: row.incident_id,
    byHand: row.by_hand,
    drainingSessions: row.draining,
    stageTime: timestampFromDate(row.stage_time),
    firstSeenTime: timestampFromDate(row.first_seen_time),
  };
}

export function policyMessage(
  namespace: string,
  { name, kind, stages: weights, stageExecutions }: NamedPolicy,
): MessageInitShape<typeof RolloutPolicySchema> {
  return { namespace, name, kind: kinds[kind], stages: [...weights], stageExecutions };
}
