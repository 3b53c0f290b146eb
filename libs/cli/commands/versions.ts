import { type Command, InvalidArgumentError } from "commander";
import { create } from "@bufbuild/protobuf";
import {
  ListVersionsResponseSchema,
  RegistryService,
  SetRolloutPolicyResponseSchema,
} from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { RolloutKind, type Version, VersionSchema } from "#libs/proto/legion/registry/v1/version_pb.ts";
import type { VersionReport } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { DescribeVersionsResponseSchema, WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { callService } from "../call-service.ts";
import { CliError, exitCodes } from "../cli-error.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, type MeshOptions, namespaceOption, wholeNumber } from "../options.ts";
import { renderJson } from "../render-json.ts";
import { columnsOf, note, print, printJson, printable } from "../terminal.ts";
import { described, reasonLines, stageText, versionTable } from "../version-text.ts";

interface Flags extends MeshOptions {
  readonly namespace?: string;
}

interface SetFlags extends Flags {
  readonly weight?: number;
  readonly promote?: boolean;
  readonly bar?: boolean;
  readonly force?: boolean;
  readonly reason?: string;
}

interface PolicyFlags extends Flags {
  readonly stages?: number[];
  readonly executions?: number;
}

const kinds = { canary: RolloutKind.CANARY, immediate: RolloutKind.IMMEDIATE, manual: RolloutKind.MANUAL };

const help = `
Examples:
  legion versions greeter
  legion versions set greeter 2.1.0 --weight 50
  legion versions set greeter 2.1.0 --promote
  legion versions set greeter 2.1.0 --bar --reason "loses umlauts"
  legion versions policy greeter canary --stages 5,25,50 --executions 500`;

export function registerVersions(program: Command): void {
  const versions = namespaceOption(meshOptions(program.command("versions").summary("show and change versions")))
    .description("Shows the versions of an agent's name: how much work each gets, how it does, and why.")
    .argument("<name>", "the agents' name")
    .addHelpText("after", help)
    .action(async (name: string, flags: Flags) => await show(name, flags));
  registerSet(versions);
  registerPolicy(versions);
}

function registerSet(versions: Command): void {
  subcommand(versions, "set", "change how much work a version gets")
    .description(
      "Gives a version a weight (the current version gets what is left of 100), makes it the current one with all the " +
        "work, or takes it out until somebody promotes it.",
    )
    .argument("<name>", "the agents' name")
    .argument("<version>")
    .option("--weight <n>", "its share, 0 to 1,000", wholeNumber(0, 1_000))
    .option("--promote", "all the work, also if it was barred")
    .option("--bar", "no work; its agents are told to finish and end")
    .option("--force", "with --bar: also if no other version can take over")
    .option("--reason <text>", "with --bar: why; its agents are told")
    .action(async (name: string, version: string, _: object, command: Command) => {
      const flags = command.optsWithGlobals<SetFlags>();
      const changed = await change(name, version, flags);
      if (flags.json) printJson(renderJson(VersionSchema, changed));
      else print(printable(`${changed.name} ${changed.version}: ${stageText(changed)}, weight ${changed.weight}`));
    });
}

function registerPolicy(versions: Command): void {
  subcommand(versions, "policy", "say how new versions come")
    .description("Says what becomes of new versions of a name: canary, immediate or manual.")
    .argument("<name>", "the agents' name")
    .argument("<kind>", Object.keys(kinds).join(", "))
    .option("--stages <n,n>", "for canary: the weights before 100 (default: 10,50)", stageList)
    .option("--executions <n>", "for canary: executions that pass a stage", wholeNumber(1, 1_000_000))
    .action(async (name: string, kindName: string, _: object, command: Command) => {
      const flags = command.optsWithGlobals<PolicyFlags>();
      const kind = new Map(Object.entries(kinds)).get(kindName.toLowerCase());
      if (kind === undefined) {
        throw new CliError(
          `No policy is called '${kindName}': there are ${Object.keys(kinds).join(", ")}.`,
          exitCodes.usage,
        );
      }
      const { namespace = "", stages = [], executions: stageExecutions = 0 } = flags;
      const policy = { namespace, name, kind, stages, stageExecutions };
      const response = await registry(flags, (client, settings) => client.setRolloutPolicy({ policy }, settings));
      const rendered = renderJson(SetRolloutPolicyResponseSchema, response);
      if (flags.json) printJson(rendered["policy"]);
      else
        print(printable(`${name}: ${kindName.toLowerCase()}, stages ${response.policy?.stages.join(", ")}, then 100`));
    });
}

async function show(name: string, flags: Flags): Promise<void> {
  const { namespace = "" } = flags;
  const answer = await registry(flags, (client, settings) => client.listVersions({ namespace, name }, settings));
  if (answer.versions.length === 0) {
    throw new CliError(
      `No agent called '${printable(name)}' was ever seen${namespace === "" ? "" : ` in ${namespace}`}.`,
    );
  }
  let reports: VersionReport[] = [];
  let trouble: string | undefined;
  await using mesh = new Mesh(flags);
  const watchdog = { name: "Watchdog", desc: WatchdogService, targets: mesh.addresses.watchdog } as const;
  try {
    ({ reports } = await callService(watchdog, (client, settings) =>
      client.describeVersions({ namespace, name }, settings),
    ));
  } catch (error) {
    // What the Registry says is worth showing alone.
    trouble = error instanceof Error ? error.message : String(error);
  }
  if (flags.json) {
    const ofRegistry = renderJson(ListVersionsResponseSchema, answer);
    const ofWatchdog = renderJson(DescribeVersionsResponseSchema, create(DescribeVersionsResponseSchema, { reports }));
    printJson({ ...ofRegistry, ...ofWatchdog });
  } else {
    const versions = described(answer.versions, reports);
    for (const line of versionTable(versions, columnsOf(process.stdout))) print(line);
    print("");
    for (const line of reasonLines(versions)) print(printable(line));
  }
  if (trouble !== undefined) note(`Without executions and verdicts: ${trouble}`);
}

async function change(name: string, version: string, flags: SetFlags): Promise<Version> {
  const { namespace = "", weight, promote = false, bar = false, force = false, reason = "" } = flags;
  const asked = [weight !== undefined, promote, bar].filter(Boolean).length;
  if (asked !== 1) throw new CliError("Say one of --weight, --promote and --bar.", exitCodes.usage);
  if (!bar && (force || reason !== "")) throw new CliError("--force and --reason go with --bar.", exitCodes.usage);
  const key = { namespace, name, version };
  const response = await registry(flags, async (client, settings) => {
    if (weight !== undefined) return await client.setVersionWeight({ ...key, weight }, settings);
    if (promote) return await client.promoteVersion(key, settings);
    return await client.barVersion({ ...key, force, reason }, settings);
  });
  return response.version ?? create(VersionSchema, key);
}

async function registry<T>(
  flags: Flags,
  call: Parameters<typeof callService<typeof RegistryService, T>>[1],
): Promise<T> {
  await using mesh = new Mesh(flags);
  return await callService({ name: "Registry", desc: RegistryService, targets: mesh.addresses.registry }, call);
}

function subcommand(versions: Command, name: string, summary: string): Command {
  return namespaceOption(meshOptions(versions.command(name).summary(summary)));
}

function stageList(text: string): number[] {
  return text.split(",").map((part) => {
    const weight = Number(part.trim());
    if (/^\d+$/.test(part.trim()) && weight >= 1 && weight <= 99) return weight;
    throw new InvalidArgumentError("Expected whole numbers from 1 to 99, rising, such as 10,50.");
  });
}
