import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ListVerdictsRequest,
  ListVerdictsResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import type { Watch } from "../watch.ts";

const maxVerdicts = 1_000;

/** The verdict on each version and capability by the executions of now; its time is when it became what it is. */
export function listVerdicts(
  { namespace, name }: ListVerdictsRequest,
  watch: Watch,
): MessageInitShape<typeof ListVerdictsResponseSchema> {
  return { verdicts: watch.verdicts(namespace || "default", name, maxVerdicts) };
}
