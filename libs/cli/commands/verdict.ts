import type { Command } from "commander";
import { VerdictKindSchema } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { Evidence } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { ShouldRollbackResponseSchema, WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { callService } from "../call-service.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, type MeshOptions, namespaceOption } from "../options.ts";
import { enumName, renderJson } from "../render-json.ts";
import { facts } from "../table.ts";
import { paint, print, printable, printJson } from "../terminal.ts";

interface VerdictFlags extends MeshOptions {
  readonly namespace?: string;
}

export function registerVerdict(program: Command): void {
  namespaceOption(meshOptions(program.command("verdict").summary("show how an agent's version is judged")))
    .description("Shows whether an agent's version should be rolled back, why, and by which evidence.")
    .argument("<agent-id>")
    .action(async (agentId: string, { namespace = "", ...flags }: VerdictFlags) => {
      await using mesh = new Mesh(flags);
      const service = { name: "Watchdog", desc: WatchdogService, targets: mesh.addresses.watchdog } as const;
      const answer = await callService(service, (client, settings) =>
        client.shouldRollback({ namespace, agentId }, settings),
      );
      if (flags.json) {
        printJson(renderJson(ShouldRollbackResponseSchema, answer));
        return;
      }
      const { shouldRollback, reason, verdict } = answer;
      const word = shouldRollback ? paint("red", "roll back", process.stdout) : paint("green", "keep", process.stdout);
      print(`${word}: ${printable(reason)}`);
      if (verdict === undefined) return;
      const lines = facts([
        ["of", verdict.agentId || `version ${verdict.version} of ${verdict.name}`],
        ["verdict", enumName(VerdictKindSchema, verdict.kind).toLowerCase()],
        ["capability", verdict.capability],
        ...(verdict.evidence === undefined ? [] : evidenceFacts(verdict.evidence)),
      ]);
      for (const line of lines) print(printable(line));
    });
}

function evidenceFacts(evidence: Evidence): [string, string | undefined][] {
  const { samples, controlSamples, controlVersion, eValue, durationRatio, durationRatioLow, durationRatioHigh } =
    evidence;
  const { failureShare, controlFailureShare, memorySlopeBytes, trendPValue } = evidence;
  const number = (value: number | undefined) =>
    value === undefined ? undefined : String(Number(value.toPrecision(3)));
  const percent = (share: number | undefined) =>
    share === undefined ? undefined : `${Number((share * 100).toFixed(1))} %`;
  const interval =
    durationRatioLow === undefined || durationRatioHigh === undefined
      ? ""
      : ` (${number(durationRatioLow)} to ${number(durationRatioHigh)})`;
  return [
    ["executions", samples.toLocaleString("en")],
    ["beside", controlVersion === "" ? undefined : `version ${controlVersion}, ${controlSamples.toLocaleString("en")}`],
    ["e-value", number(eValue)],
    ["times as long", durationRatio === undefined ? undefined : `${number(durationRatio)}${interval}`],
    ["failed", percent(failureShare)],
    ["failed beside", percent(controlFailureShare)],
    ["bytes per execution", number(memorySlopeBytes)],
    ["trend by chance", number(trendPValue)],
  ];
}
