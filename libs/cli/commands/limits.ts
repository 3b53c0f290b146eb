import type { Command } from "commander";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import {
  GetLimitResponseSchema,
  ListLimitsResponseSchema,
  PauseLimitResponseSchema,
  RateLimitService,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { callService } from "../call-service.ts";
import { amount, dimension, limitFromFlags, type LimitFlags, severally, whenUnreachable } from "../limit-flags.ts";
import { kindText, limitTable, perText, selectorText, stateTable, unreachableText } from "../limit-text.ts";
import { Mesh } from "../mesh.ts";
import { durationMs, labels, meshOptions, type MeshOptions, namespaceOption, wholeNumber } from "../options.ts";
import { renderJson } from "../render-json.ts";
import { facts } from "../table.ts";
import { columnsOf, note, print, printJson } from "../terminal.ts";
import { lengthText } from "../time-text.ts";

interface Flags extends MeshOptions {
  readonly namespace?: string;
}

const help = `
Examples:
  legion limits set per-user --rate 100/m --burst 20 --per user
  legion limits set gpu --concurrency 5 --capability render
  legion limits set openai --window 90000/1m --unit llm_tokens --when-unreachable safe=5/s
  legion limits show per-user --key ada
  legion limits pause per-user --key ada --for 30s`;

export function registerLimits(program: Command): void {
  const limits = meshOptions(program.command("limits").summary("show and change limits"))
    .description("Shows and changes limits on rates and on what runs at a time.")
    .addHelpText("after", help);
  registerSet(limits);
  registerList(limits);
  registerShow(limits);
  registerPause(limits);
  registerDelete(limits);
}

function registerSet(limits: Command): void {
  subcommand(limits, "set", "create a limit, or replace it")
    .description("Creates a limit, or replaces the one of this name: one of --rate, --window and --concurrency.")
    .argument("<name>")
    .option("--rate <n/time>", "so many come back each time, such as 100/m", amount)
    .option(
      "--burst <n>",
      "with --rate: so many at once after a rest (default: as many as the rate)",
      wholeNumber(1, 1e12),
    )
    .option("--window <n/time>", "so many in any window of this length, such as 100/1m", amount)
    .option("--concurrency <n>", "so many at a time; 0 admits nothing", wholeNumber(0, 1e9))
    .option("--per <what>", "counts each apart: user, capability or label:<key>; can be given several times", dimension)
    .option("--capability <name>", "only tasks for it; can be given several times", severally)
    .option("--user <name>", "only tasks of this user; can be given several times", severally)
    .option("--label <key=value>", "only tasks that have it; can be given several times", labels)
    .option("--unit <name>", "counts what tasks cost in this unit, such as llm_tokens (default: tasks)")
    .option(
      "--when-unreachable <what>",
      "while the RateLimit service is away: fail-closed, fail-open, or safe=5/s for each Dispatcher (default: fail-closed)",
      whenUnreachable,
    )
    .action(async (name: string, _: object, command: Command) => {
      const flags = command.optsWithGlobals<LimitFlags & Flags>();
      const limit = limitFromFlags(name, flags);
      const response = await ask(flags, (client, settings) => client.setLimit({ limit }, settings));
      if (flags.json) printJson(renderJson(LimitSchema, response.limit!));
      else print(`${response.limit!.name}: ${kindText(response.limit!)}`);
    });
}

function registerList(limits: Command): void {
  meshOptions(limits.command("list").summary("list limits by name"))
    .description("Lists limits by name, and what is paused.")
    .option("--namespace <name>", "only this tenant's (default: those of all)")
    .action(async (_: object, command: Command) => {
      const flags = command.optsWithGlobals<Flags>();
      const { namespace = "" } = flags;
      const answer = await ask(flags, (client, settings) => client.listLimits({ namespace }, settings));
      if (flags.json) printJson(renderJson(ListLimitsResponseSchema, answer));
      else if (answer.limits.length === 0)
        note("There are no limits. `legion limits set --help` shows how to make one.");
      else for (const line of limitTable(answer.limits, columnsOf(process.stdout))) print(line);
      if (!flags.json && answer.pauses.length > 0) {
        const names = answer.pauses.map(({ limit, key }) => (key === "" ? limit : `${limit} (${key})`));
        note(`Paused: ${names.join(", ")}.`);
      }
    });
}

function registerShow(limits: Command): void {
  subcommand(limits, "show", "show what is left of a limit")
    .description(
      "Shows a limit and what its buckets hold: what remains, when it resets, who has leased of it, what is paused.",
    )
    .argument("<name>")
    .option("--key <key>", "only this bucket, such as the user's name (default: those in use, at most 100)")
    .action(async (name: string, _: object, command: Command) => {
      const flags = command.optsWithGlobals<Flags & { key?: string }>();
      const { namespace = "", key } = flags;
      const request = { namespace, name, ...(key !== undefined && { key }) };
      const answer = await ask(flags, (client, settings) => client.getLimit(request, settings));
      if (flags.json) {
        printJson(renderJson(GetLimitResponseSchema, answer));
        return;
      }
      const limit = answer.limit!;
      const about = [
        ["limit", limit.name],
        ["namespace", limit.namespace],
        ["allows", kindText(limit)],
        ["for each", perText(limit)],
        ["applies to", selectorText(limit)],
        ["unreachable", unreachableText(limit)],
      ] as const;
      for (const line of facts(about)) print(line);
      print("");
      if (answer.states.length > 0) {
        for (const line of stateTable(answer.states, Date.now(), columnsOf(process.stdout))) print(line);
      } else if (limit.kind.case === "concurrency") {
        print("What runs under it is the Dispatchers' to say: see `legion tasks --state leased`.");
      } else {
        print("Nothing of it is in use: every bucket is full.");
      }
    });
}

function registerPause(limits: Command): void {
  subcommand(limits, "pause", "let a limit admit nothing for a while")
    .description(
      "Lets a limit, or one bucket of it, admit nothing for a while. A pause that already lasts longer is kept.",
    )
    .argument("<name>")
    .option("--key <key>", "the bucket, such as the user's name (default: that of a limit with one)", "")
    .requiredOption("--for <duration>", "for how long, such as 30s; 0 ends the pause", durationMs("0ms", "366d"))
    .action(async (name: string, _: object, command: Command) => {
      const flags = command.optsWithGlobals<Flags & { key: string; for: number }>();
      const { namespace = "", key } = flags;
      const request = { namespace, limit: name, key, duration: durationFromMs(flags.for) };
      const { pauseUntil, ...response } = await ask(flags, (client, settings) => client.pauseLimit(request, settings));
      const what = key === "" ? name : `${name} for '${key}'`;
      if (flags.json) {
        const rendered = renderJson(PauseLimitResponseSchema, { ...response, ...(pauseUntil && { pauseUntil }) });
        printJson({ limit: name, key, ...rendered });
      } else if (pauseUntil === undefined) print(`${what} is not paused`);
      else
        print(`${what} is paused for ${lengthText(1_000 * Math.ceil((timestampMs(pauseUntil) - Date.now()) / 1_000))}`);
    });
}

function registerDelete(limits: Command): void {
  subcommand(limits, "delete", "delete a limit")
    .description("Deletes a limit and what is known of its buckets.")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      const flags = command.optsWithGlobals<Flags>();
      const { namespace = "" } = flags;
      await ask(flags, (client, settings) => client.deleteLimit({ namespace, name }, settings));
      if (flags.json) printJson({ namespace: namespace || "default", name });
      else print("deleted");
    });
}

function subcommand(limits: Command, name: string, summary: string): Command {
  return namespaceOption(meshOptions(limits.command(name).summary(summary)));
}

async function ask<T>(
  flags: Flags,
  call: (client: Client<typeof RateLimitService>, settings: { timeoutMs: number }) => Promise<T>,
): Promise<T> {
  await using mesh = new Mesh(flags);
  return await callService({ name: "RateLimit", desc: RateLimitService, targets: mesh.addresses.ratelimit }, call);
}
