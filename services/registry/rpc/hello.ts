import { randomUUID } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import { LabelSchema } from "#libs/proto/legion/common/v1/label_pb.ts";
import { CapabilitySchema } from "#libs/proto/legion/registry/v1/capability_pb.ts";
import { type ConnectRequest, ConnectRequestSchema, type Hello } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { StreamContext } from "#libs/rpc/duplex-stream.ts";
import { validate } from "#libs/rpc/validate.ts";
import { attribute } from "#libs/telemetry/attributes.ts";
import { isTracing, SpanKind, startSpan, type TaskSpan } from "#libs/telemetry/task-spans.ts";
import { checkFirstFrame } from "../core/check-frame.ts";
import type { Profile } from "../core/session.ts";
import type { AgentStream, LiveSession } from "../engine/live-session.ts";
import type { Registry } from "../engine/registry.ts";
import type { Opened, Opening } from "../sql/open-sessions.ts";
import { toConnectError } from "./connect-error.ts";

/** Answers hello once its session's row is written. Never rejects: what is wrong ends the stream. */
export async function greet(
  registry: Registry,
  stream: AgentStream,
  first: ConnectRequest,
  context: StreamContext,
): Promise<LiveSession | undefined> {
  let span: TaskSpan | undefined;
  let held: LiveSession | undefined;
  try {
    registry.assertOpen();
    const hello = checkFirstFrame(first);
    validate(ConnectRequestSchema, first);
    if (isTracing()) span = startConnectSpan(hello, context);
    await checkSchemas(registry, hello);
    const profile = profileOf(hello);
    held = registry.sessions.hold(hello.sessionId, profile);
    const opened = await withWeight(registry, profile, await registry.store.open(openingOf(profile, hello)));
    registry.assertOpen();
    const live = registry.sessions.open(stream, first, profile, hello.slots || 1, opened);
    if (opened.restMs > 0) registry.rests.rest(live, opened.restMs);
    registry.opened(opened);
    return live;
  } catch (thrown) {
    if (held !== undefined) registry.sessions.unhold(held);
    const error = toConnectError(thrown);
    registry.refused(error, thrown, context.peer);
    span?.recordError(error);
    stream.fail(error);
    return undefined;
  } finally {
    span?.end();
  }
}

/** The first agent of a version waits for the decision about it. */
async function withWeight(registry: Registry, profile: Profile, opened: Opened): Promise<Opened> {
  return opened.isNewVersion ? { ...opened, weight: await registry.rollouts.admit(profile) } : opened;
}

async function checkSchemas(registry: Registry, { capabilities }: Hello): Promise<void> {
  for (const [index, { inputSchema }] of capabilities.entries()) {
    if (inputSchema === "") continue;
    try {
      await registry.checkSchema(inputSchema);
    } catch (thrown) {
      const error = toConnectError(thrown, `hello.capabilities[${index}].input_schema`);
      throw Object.assign(error, { cause: thrown });
    }
  }
}

function profileOf({ namespace, agentId, name, version, capabilities, labels, sdk, resumable }: Hello): Profile {
  const given = { agentId, capabilities, labels, sdk, resumable };
  return { ...given, namespace: namespace || "default", name: name || agentId, version: version || "0" };
}

const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

function openingOf(profile: Profile, { sessionId, slots }: Hello): Opening {
  const { namespace, agentId, name, version, sdk } = profile;
  return {
    namespace,
    agentId,
    name,
    version,
    sdk,
    capabilities: JSON.stringify(profile.capabilities.map((capability) => toJson(CapabilitySchema, capability))),
    labels: JSON.stringify(profile.labels.map((label) => toJson(LabelSchema, label))),
    slots: slots || 1,
    freshId: randomUUID(),
    // What is no id of ours names no session of ours.
    resumeId: uuid.test(sessionId) ? sessionId : undefined,
  };
}

function startConnectSpan(hello: Hello, { requestHeader }: StreamContext): TaskSpan {
  return startSpan("legion.registry.v1.RegistryService/Connect", {
    kind: SpanKind.SERVER,
    parent: { traceparent: requestHeader.get("traceparent") ?? "", tracestate: requestHeader.get("tracestate") ?? "" },
    attributes: {
      [attribute.rpcSystem]: "grpc",
      [attribute.rpcService]: "legion.registry.v1.RegistryService",
      [attribute.rpcMethod]: "Connect",
      [attribute.namespace]: hello.namespace || "default",
      [attribute.agentId]: hello.agentId,
      [attribute.agentName]: hello.name || hello.agentId,
      [attribute.agentVersion]: hello.version || "0",
    },
  });
}
