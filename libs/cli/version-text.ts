import type { Duration } from "@bufbuild/protobuf/wkt";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Version, VersionStageSchema } from "#libs/proto/legion/registry/v1/version_pb.ts";
import { VerdictKind, VerdictKindSchema, type VersionReport } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { enumName } from "./render-json.ts";
import { table } from "./table.ts";

/** A version with what the Watchdog says of it, by capability. */
export interface DescribedVersion {
  readonly version: Version;
  readonly reports: readonly VersionReport[];
}

export function described(versions: readonly Version[], reports: readonly VersionReport[]): DescribedVersion[] {
  return versions.map((version) => ({ version, reports: reports.filter((one) => one.version === version.version) }));
}

/** One line for each version and capability. */
export function versionTable(versions: readonly DescribedVersion[], width: number | undefined): string[] {
  const rows = versions.flatMap(({ version, reports }) => {
    const { weight, sessions, drainingSessions } = version;
    const agents = drainingSessions > 0 ? `${sessions} (${drainingSessions} drain)` : String(sessions);
    const own = [version.version, stageText(version), `${weight}`, agents];
    if (reports.length === 0) return [[...own, "0", "", "", "", "", ""]];
    return reports.map((report, index) => [
      ...(index === 0 ? own : ["", "", "", ""]),
      report.executions.toLocaleString("en"),
      msText(report.p50),
      msText(report.p95),
      failuresText(report),
      report.verdict === undefined ? "" : enumName(VerdictKindSchema, report.verdict.kind).toLowerCase(),
      report.capability,
    ]);
  });
  return table(
    [
      { title: "VERSION" },
      { title: "STAGE" },
      { title: "WEIGHT", align: "right" },
      { title: "AGENTS", align: "right" },
      { title: "DONE", align: "right" },
      { title: "P50", align: "right" },
      { title: "P95", align: "right" },
      { title: "FAILED", align: "right" },
      { title: "VERDICT" },
      { title: "CAPABILITY", flexible: true },
    ],
    rows,
    width,
  );
}

/** Why each version is where it is, and what is held against it. */
export function reasonLines(versions: readonly DescribedVersion[]): string[] {
  return versions.flatMap(({ version, reports }) => {
    const bad = reports.filter(({ verdict }) => verdict !== undefined && isBad(verdict.kind));
    const why = [version.reason, ...bad.map(({ verdict }) => verdict?.summary ?? "")].filter((text) => text !== "");
    return [...new Set(why)].map((text) => `${version.version}: ${text}`);
  });
}

export const isBad = (kind: VerdictKind): boolean =>
  kind === VerdictKind.SLOWER || kind === VerdictKind.FAILING || kind === VerdictKind.LEAKING;

export const stageText = ({ stage }: Version): string => enumName(VersionStageSchema, stage).toLowerCase();

/** `12.3 ms`, in three digits or so. */
export function msText(duration: Duration | undefined): string {
  if (duration === undefined) return "";
  const ms = durationMs(duration) + (duration.nanos % 1_000_000) / 1e6;
  return ms < 10_000 ? `${Number(ms.toPrecision(3))} ms` : `${(ms / 1_000).toPrecision(3)} s`;
}

function failuresText({ recentExecutions, recentFailures }: VersionReport): string {
  if (recentExecutions === 0) return "";
  return `${Number(((recentFailures / recentExecutions) * 100).toFixed(1))} %`;
}
