import type { Command } from "commander";
import { create } from "@bufbuild/protobuf";
import { AgentStateSchema } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import type { Agent } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { ListAgentsResponseSchema, RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type { ListAgentsResponse } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { Mesh, orUnreachable } from "../mesh.ts";
import { meshOptions, namespaceOption } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { enumName, renderJson } from "../render-json.ts";
import { table } from "../table.ts";
import { columnsOf, note, print, printJson } from "../terminal.ts";
import { agoText } from "../time-text.ts";

interface AgentsFlags extends MeshOptions {
  readonly namespace?: string;
  readonly capability?: string;
}

const pageSize = 1_000;
const timeoutMs = 10_000;

export function registerAgents(program: Command): void {
  namespaceOption(meshOptions(program.command("agents").summary("list agents")))
    .description("Lists agents by id, those that are away included.")
    .option("--capability <name>", "only those that offer it")
    .action(async (flags: AgentsFlags) => {
      const answer = await listAgents(flags);
      if (flags.json) printJson(renderJson(ListAgentsResponseSchema, answer));
      else if (answer.agents.length > 0) for (const line of agentTable(answer.agents)) print(line);
      else note(nothing(flags));
    });
}

/** All of them, from whichever Registry answers first. */
async function listAgents({ namespace = "", capability = "", ...flags }: AgentsFlags): Promise<ListAgentsResponse> {
  await using mesh = new Mesh(flags);
  const targets = mesh.addresses.registry;
  let failure: unknown;
  for (const target of targets) {
    await using channel = new GrpcChannel(target);
    const client = createClient(RegistryService, channel);
    const all = create(ListAgentsResponseSchema, {});
    try {
      do {
        const request = { namespace, capability, pageSize, pageToken: all.nextPageToken };
        const page = await client.listAgents(request, { timeoutMs });
        all.agents.push(...page.agents);
        Object.assign(all, { ...page, agents: all.agents });
      } while (all.nextPageToken !== "");
      return all;
    } catch (error) {
      failure = error;
    }
  }
  throw orUnreachable(failure, "Registry", targets);
}

function agentTable(agents: readonly Agent[]): string[] {
  const now = Date.now();
  return table(
    [
      { title: "AGENT" },
      { title: "VERSION" },
      { title: "STATE" },
      { title: "BUSY", align: "right" },
      { title: "SINCE", align: "right" },
      { title: "CAPABILITIES", flexible: true },
    ],
    agents.map((agent) => [
      agent.agentId,
      agent.version,
      enumName(AgentStateSchema, agent.state),
      `${agent.inFlight}/${agent.slots}`,
      agoText(agent.disconnectTime ?? agent.connectTime, now),
      agent.capabilities.map(({ name }) => name).join(" "),
    ]),
    columnsOf(process.stdout),
  );
}

function nothing({ capability, namespace }: AgentsFlags): string {
  const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
  if (capability !== undefined) return `No agent${where} offers '${capability}'.`;
  return `No agent was ever seen${where}. \`npm start\` brings some; README.md shows how to write one in 20 lines.`;
}
