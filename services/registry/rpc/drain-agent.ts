import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Registry } from "../engine/registry.ts";
import { requestDrain } from "../sql/request-drain.ts";
import { agentMessage } from "./agent-message.ts";
import { agentNotFound, findAgent } from "./get-agent.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["drainAgent"];

export function drainAgentHandler(registry: Registry): Handler {
  const { pool, sessions } = registry;
  return async ({ namespace, agentId, reason }) => {
    const holder = await whileConnected(() => requestDrain(pool, namespace || "default", agentId, reason));
    if (holder === undefined) throw agentNotFound(namespace, agentId);
    if (holder === null) throw legionError("AGENT_NOT_CONNECTED", `The agent ${agentId} has no session to drain.`);
    registry.hint(holder);
    return { agent: agentMessage(await findAgent(pool, namespace, agentId), sessions) };
  };
}
