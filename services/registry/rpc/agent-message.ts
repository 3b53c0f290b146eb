import { fromJson, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { LabelSchema } from "#libs/proto/legion/common/v1/label_pb.ts";
import type { AgentSchema, AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { CapabilitySchema } from "#libs/proto/legion/registry/v1/capability_pb.ts";
import type { Sessions } from "../engine/sessions.ts";
import type { AgentRow } from "../sql/agent-row.ts";

/** What the row says, and how many attempts the agent holds if its session is held here. */
export function agentMessage(row: AgentRow, sessions: Sessions): MessageInitShape<typeof AgentSchema> {
  return {
    namespace: row.namespace,
    agentId: row.agent_id,
    name: row.name,
    version: row.version,
    capabilities: asArray(row.capabilities).map((capability) => fromJson(CapabilitySchema, capability)),
    labels: asArray(row.labels).map((label) => fromJson(LabelSchema, label)),
    state: row.state as AgentState,
    sessionId: row.session_id,
    slots: row.slots,
    inFlight: sessions.find(row.session_id)?.session.attempts.unanswered ?? 0,
    connectTime: timestampFromDate(row.connect_time),
    ...(row.disconnect_time && { disconnectTime: timestampFromDate(row.disconnect_time) }),
    disconnectReason: row.disconnect_reason,
    sdk: row.sdk,
    ...(row.rest_until && { restUntilTime: timestampFromDate(row.rest_until) }),
  };
}

function asArray(json: unknown): JsonValue[] {
  return Array.isArray(json) ? json : [];
}
