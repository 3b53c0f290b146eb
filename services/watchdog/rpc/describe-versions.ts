import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type {
  DescribeVersionsRequest,
  DescribeVersionsResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { report } from "../core/report.ts";
import type { Rings } from "../core/rings.ts";
import type { Watch } from "../watch.ts";

/** What is in the rings, with what the trials say about it. */
export async function describeVersions(
  { namespace: given, name }: DescribeVersionsRequest,
  rings: Rings,
  watch: Watch,
): Promise<MessageInitShape<typeof DescribeVersionsResponseSchema>> {
  const namespace = given || "default";
  await watch.catchUp();
  const trials = await watch.judged(namespace, name, 1_000);
  const reports = [...rings.groups]
    .filter((group) => group.namespace === namespace && group.name === name)
    .flatMap(({ capability, versions }) => [...versions.values()].map((ring) => ({ capability, ring })))
    .map(({ capability, ring }) => {
      const { executions, failures, p50Ms, p95Ms } = report(ring.ring.samples());
      const trial = trials.find((one) => one.version === ring.version && one.capability === capability);
      return {
        version: ring.version,
        capability,
        executions: BigInt(trial?.executions ?? ring.ring.total),
        passed: BigInt(trial?.passed ?? 0),
        recentExecutions: executions,
        recentFailures: failures,
        ...(p50Ms !== undefined && { p50: durationOf(p50Ms) }),
        ...(p95Ms !== undefined && { p95: durationOf(p95Ms) }),
        ...(trial && { verdict: trial.verdict }),
      };
    });
  return { reports: reports.toSorted((a, b) => compare(a.version, b.version) || compare(a.capability, b.capability)) };
}

/** With microseconds, as they are stored. */
function durationOf(ms: number) {
  const { seconds } = durationFromMs(Math.floor(ms));
  return { seconds, nanos: Math.round((ms - Number(seconds) * 1_000) * 1_000) * 1_000 };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
