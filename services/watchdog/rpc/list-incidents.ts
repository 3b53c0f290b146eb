import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  ListIncidentsRequest,
  ListIncidentsResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { listIncidents as readIncidents } from "../sql/incidents.ts";
import { pageToken, readPageToken } from "./page-token.ts";

const defaultPageSize = 50;
const newest = 2n ** 62n;

/** Newest first. What is recorded between two pages does not shift them. */
export async function listIncidents(
  request: ListIncidentsRequest,
  pool: ConnectionPool,
): Promise<MessageInitShape<typeof ListIncidentsResponseSchema>> {
  const namespace = request.namespace || "default";
  // No stored name has the character 0, and Postgres would refuse the question.
  const name = request.name.replaceAll("\0", "\ufffd");
  const question = [namespace, name];
  const before = request.pageToken === "" ? newest : readPageToken(request.pageToken, question);
  const size = request.pageSize || defaultPageSize;
  const found = await readIncidents(pool, { namespace, name, before, limit: size + 1 });
  const page = found.slice(0, size);
  const nextPageToken = found.length > size ? pageToken(question, page.at(-1)!.sequence) : "";
  return { incidents: page.map(({ incident }) => incident), nextPageToken };
}
