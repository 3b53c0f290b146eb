import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { RolloutKind } from "#libs/proto/legion/registry/v1/version_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { defaultPolicy, type Policy } from "../core/rollout.ts";
import type { Registry } from "../engine/registry.ts";
import { savePolicy } from "../sql/policies.ts";
import { policyMessage } from "./list-versions.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["setRolloutPolicy"];

const kinds = new Map<number, Policy["kind"]>([
  [RolloutKind.UNSPECIFIED, "canary"],
  [RolloutKind.CANARY, "canary"],
  [RolloutKind.IMMEDIATE, "immediate"],
  [RolloutKind.MANUAL, "manual"],
]);

export function setRolloutPolicyHandler({ pool }: Registry): Handler {
  return async ({ policy }) => {
    const {
      namespace: given = "",
      name = "",
      kind: wanted = 0,
      stages: wishes = [],
      stageExecutions = 0,
    } = policy ?? {};
    if (name === "") throw invalid("policy.name", "is required");
    if (wishes.some((weight, index) => index > 0 && weight <= (wishes[index - 1] ?? 0))) {
      throw invalid("policy.stages", "must rise");
    }
    const kind = kinds.get(wanted);
    if (kind === undefined) throw invalid("policy.kind", "is none that this Registry knows");
    const namespace = given || "default";
    const stages = wishes.length > 0 ? wishes : defaultPolicy.stages;
    const set = { name, kind, stages, stageExecutions };
    await whileConnected(() => savePolicy(pool, namespace, set));
    return { policy: policyMessage(namespace, set) };
  };
}

function invalid(field: string, description: string) {
  return legionError("INVALID_REQUEST", `${field}: ${description}`, { violations: [{ field, description }] });
}
