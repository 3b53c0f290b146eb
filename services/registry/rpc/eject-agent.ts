import type { ServiceImpl } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Registry } from "../engine/registry.ts";
import { ejectAgent } from "../sql/eject-agent.ts";
import { agentMessage } from "./agent-message.ts";
import { agentNotFound, findAgent } from "./get-agent.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["ejectAgent"];

export function ejectAgentHandler(registry: Registry): Handler {
  const { pool, sessions } = registry;
  return async ({ namespace: given, agentId, rest, reason, incidentId, maxShare }) => {
    const namespace = given || "default";
    const restMs = rest === undefined ? 0 : durationMs(rest);
    const ejection = { namespace, agentId, restMs, reason, incidentId, maxShare };
    const done = await whileConnected(() => ejectAgent(pool, ejection));
    if (done === "unknown") throw agentNotFound(namespace, agentId);
    if (done === "too many") {
      const message = `The agent ${agentId} is not sent to rest: too few agents of its name and version would be left.`;
      throw legionError("TOO_MANY_EJECTED", message);
    }
    registry.hintWeights();
    return { agent: agentMessage(await findAgent(pool, namespace, agentId), sessions) };
  };
}
