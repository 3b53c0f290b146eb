import type { ServiceImpl } from "@connectrpc/connect";
import type { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type { Registry } from "../engine/registry.ts";
import { countAgents, listAgents } from "../sql/list-agents.ts";
import { agentMessage } from "./agent-message.ts";
import { pageToken, readPageToken } from "./page-token.ts";
import { whileConnected } from "./while-connected.ts";

type Handler = ServiceImpl<typeof RegistryService>["listAgents"];

const defaultPageSize = 100;

export function listAgentsHandler({ pool, sessions }: Registry): Handler {
  return async (request) => {
    const namespace = request.namespace || "default";
    const { capability, states } = request;
    const pageSize = request.pageSize || defaultPageSize;
    const list = [namespace, capability, ...states];
    const after = readPageToken(request.pageToken, list);
    const [rows, { total, active }] = await whileConnected(() =>
      Promise.all([
        // One more than asked for shows whether there is a next page.
        listAgents(pool, { namespace, capability, states, after, limit: pageSize + 1 }),
        countAgents(pool, namespace),
      ]),
    );
    const page = rows.slice(0, pageSize);
    return {
      agents: page.map((row) => agentMessage(row, sessions)),
      nextPageToken: rows.length > pageSize ? pageToken(list, page.at(-1)?.agent_id ?? "") : "",
      totalAgents: total,
      activeAgents: active,
    };
  };
}
