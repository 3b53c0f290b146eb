import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Registry } from "../engine/registry.ts";
import type { AgentRow } from "../sql/agent-row.ts";
import { getAgent } from "../sql/get-agent.ts";
import { agentMessage } from "./agent-message.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["getAgent"];

export function getAgentHandler({ pool, sessions }: Registry): Handler {
  return async ({ namespace, agentId }) => {
    const row = await findAgent(pool, namespace, agentId);
    return { agent: agentMessage(row, sessions) };
  };
}

/** @throws ConnectError AGENT_NOT_FOUND */
export async function findAgent(pool: Registry["pool"], namespace: string, agentId: string): Promise<AgentRow> {
  const row = await whileConnected(() => getAgent(pool, namespace || "default", agentId));
  if (row === undefined) throw agentNotFound(namespace, agentId);
  return row;
}

export function agentNotFound(namespace: string, agentId: string) {
  return legionError(
    "AGENT_NOT_FOUND",
    `No agent ${agentId} was ever seen in the namespace ${namespace || "default"}.`,
  );
}
