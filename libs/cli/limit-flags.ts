import { InvalidArgumentError } from "commander";
import { durationFromMs, type Duration } from "@bufbuild/protobuf/wkt";
import { type Limit, WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { DimensionSchema, LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { CliError, exitCodes } from "./cli-error.ts";

export interface Amount {
  readonly count: bigint;
  readonly periodMs: number;
}

/** What `legion limits set` may say about a limit. */
export interface LimitFlags {
  readonly rate?: Amount;
  readonly burst?: number;
  readonly window?: Amount;
  readonly concurrency?: number;
  readonly per?: Dimension[];
  readonly capability?: string[];
  readonly user?: string[];
  readonly label?: Record<string, string>;
  readonly unit?: string;
  readonly whenUnreachable?: Pick<Limit, "whenUnreachable" | "safeRatePerSecond">;
  readonly namespace?: string;
}

type Dimension = MessageInitShape<typeof DimensionSchema>;

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `100/m`, `5/s`, `20/10s`, `1000/1d`. */
export function amount(text: string): Amount {
  const [, count, many, unit] = /^(\d{1,13})\/(\d{0,6})(ms|s|m|h|d)$/.exec(text) ?? [];
  const periodMs = Number(many || "1") * (unitsMs[unit ?? ""] ?? 0);
  if (count === undefined || periodMs === 0) {
    throw new InvalidArgumentError(
      "Expected a number and a time, such as 100/m, 5/s or 1000/10m (units: ms, s, m, h, d).",
    );
  }
  return { count: BigInt(count), periodMs };
}

/** `user`, `capability` or `label:<key>`, given any number of times. */
export function dimension(text: string, before: Dimension[] = []): Dimension[] {
  return [...before, { kind: kindOf(text) }];
}

function kindOf(text: string): NonNullable<Dimension["kind"]> {
  if (text === "user") return { case: "user", value: true };
  if (text === "capability") return { case: "capability", value: true };
  if (/^label:./.test(text)) return { case: "label", value: text.slice("label:".length) };
  throw new InvalidArgumentError("Expected user, capability or label:<key>, such as label:tier.");
}

export function severally(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** `fail-closed`, `fail-open` or `safe=5/s`. */
export function whenUnreachable(text: string): Pick<Limit, "whenUnreachable" | "safeRatePerSecond"> {
  if (text === "fail-closed") return { whenUnreachable: WhenUnreachable.FAIL_CLOSED, safeRatePerSecond: 0 };
  if (text === "fail-open") return { whenUnreachable: WhenUnreachable.FAIL_OPEN, safeRatePerSecond: 0 };
  if (text.startsWith("safe=")) {
    const { count, periodMs } = amount(text.slice("safe=".length));
    return { whenUnreachable: WhenUnreachable.SAFE_CAPACITY, safeRatePerSecond: (Number(count) * 1_000) / periodMs };
  }
  throw new InvalidArgumentError("Expected fail-closed, fail-open or safe=<rate>, such as safe=5/s.");
}

/** @throws CliError when the flags make no limit */
export function limitFromFlags(name: string, flags: LimitFlags): MessageInitShape<typeof LimitSchema> {
  const { capability = [], user = [], label = {}, per = [], unit = "", namespace = "" } = flags;
  const labels = Object.entries(label).map(([key, value]) => ({ key, value }));
  const selects = capability.length > 0 || user.length > 0 || labels.length > 0;
  return {
    name,
    namespace,
    per,
    unit,
    kind: kindFromFlags(flags),
    ...(selects && { selector: { capabilities: capability, users: user, labels } }),
    ...flags.whenUnreachable,
  };
}

function kindFromFlags({
  rate,
  burst,
  window,
  concurrency,
}: LimitFlags): NonNullable<MessageInitShape<typeof LimitSchema>["kind"]> {
  const given = [rate, window, concurrency].filter((flag) => flag !== undefined).length;
  if (given !== 1) {
    const said = given === 0 ? "None of them was given" : "Several were given";
    throw new CliError(
      `A limit is one of --rate 100/m, --window 100/1m and --concurrency 5. ${said}.`,
      exitCodes.usage,
    );
  }
  if (burst !== undefined && rate === undefined) throw new CliError("--burst goes with --rate.", exitCodes.usage);
  if (rate !== undefined) {
    return { case: "tokenBucket", value: { tokens: rate.count, period: period(rate), burst: BigInt(burst ?? 0) } };
  }
  if (window !== undefined) return { case: "slidingWindow", value: { count: window.count, window: period(window) } };
  return { case: "concurrency", value: { max: BigInt(concurrency!) } };
}

function period({ periodMs }: Amount): Duration {
  return durationFromMs(periodMs);
}
