import type { Command } from "commander";
import { create } from "@bufbuild/protobuf";
import {
  type Incident,
  IncidentAction,
  IncidentActionSchema,
  VerdictKindSchema,
} from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { ListIncidentsResponseSchema, WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { callService } from "../call-service.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, type MeshOptions, namespaceOption, wholeNumber } from "../options.ts";
import { enumName, renderJson } from "../render-json.ts";
import { table } from "../table.ts";
import { columnsOf, note, print, printJson } from "../terminal.ts";
import { betweenText, dateText } from "../time-text.ts";

interface IncidentsFlags extends MeshOptions {
  readonly namespace?: string;
  readonly name?: string;
  readonly limit: number;
}

const pageSize = 1_000;

export function registerIncidents(program: Command): void {
  namespaceOption(meshOptions(program.command("incidents").summary("list what the Watchdog found and did")))
    .description("Lists what the Watchdog found against versions and agents, and what it did about it, newest first.")
    .option("--name <name>", "only of agents of this name")
    .option("--limit <n>", "at most so many", wholeNumber(1, 100_000), 20)
    .action(async (flags: IncidentsFlags) => {
      const incidents = await list(flags);
      if (flags.json) {
        printJson(renderJson(ListIncidentsResponseSchema, create(ListIncidentsResponseSchema, { incidents })));
      } else if (incidents.length === 0) note("Nothing was found against anybody.");
      else for (const line of incidentTable(incidents)) print(line);
    });
}

async function list({ namespace = "", name = "", limit, ...flags }: IncidentsFlags): Promise<Incident[]> {
  await using mesh = new Mesh(flags);
  const service = { name: "Watchdog", desc: WatchdogService, targets: mesh.addresses.watchdog } as const;
  return await callService(service, async (client, settings) => {
    const found: Incident[] = [];
    let pageToken = "";
    do {
      const request = { namespace, name, pageSize: Math.min(pageSize, limit - found.length), pageToken };
      const page = await client.listIncidents(request, settings);
      found.push(...page.incidents);
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && found.length < limit);
    return found;
  });
}

function incidentTable(incidents: readonly Incident[]): string[] {
  return table(
    [{ title: "TIME" }, { title: "OF" }, { title: "FOUND" }, { title: "DONE" }, { title: "WHY", flexible: true }],
    incidents.map(({ verdict, action, summary, startTime, endTime }) => [
      dateText(startTime),
      verdict === undefined ? "" : verdict.agentId || `${verdict.name} ${verdict.version}`,
      verdict === undefined ? "" : enumName(VerdictKindSchema, verdict.kind).toLowerCase(),
      doneText(action, endTime === undefined ? undefined : betweenText(startTime, endTime)),
      summary,
    ]),
    columnsOf(process.stdout),
  );
}

function doneText(action: IncidentAction, took: string | undefined): string {
  if (action === IncidentAction.RECORDED) return "nothing";
  const done = enumName(IncidentActionSchema, action).toLowerCase().replaceAll("_", " ");
  return took === undefined ? `${done}: under way` : `${done} in ${took}`;
}
