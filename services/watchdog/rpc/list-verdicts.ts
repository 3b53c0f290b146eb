import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ListVerdictsRequest,
  ListVerdictsResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import type { Watch } from "../watch.ts";

const maxVerdicts = 1_000;

/** The verdict on each version and capability, in the replica that judges by the executions of now, in others of a second ago. */
export async function listVerdicts(
  { namespace, name }: ListVerdictsRequest,
  watch: Watch,
): Promise<MessageInitShape<typeof ListVerdictsResponseSchema>> {
  await watch.catchUp();
  const judged = await watch.judged(namespace || "default", name, maxVerdicts);
  return { verdicts: judged.map(({ verdict }) => verdict) };
}
