import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ListTasksRequest } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { fromPageToken, toPageToken } from "../core/page-token.ts";
import type { TaskReader } from "../engine/task-reader.ts";
import { listTasks as select, type Database } from "../sql/list-tasks.ts";

const defaultPageSize = 50;

export async function listTasks(
  request: ListTasksRequest,
  { db, reader }: { db: Database; reader: TaskReader },
): Promise<{ tasks: Task[]; nextPageToken: string }> {
  const before = request.pageToken === "" ? undefined : fromPageToken(request.pageToken);
  if (request.pageToken !== "" && before === undefined) {
    throw legionError("INVALID_REQUEST", "page_token is not one that ListTasks gave out.", {
      violations: [{ field: "page_token", description: "expected next_page_token of the page before" }],
    });
  }
  const limit = request.pageSize || defaultPageSize;
  const rows = await select(db, {
    namespace: request.namespace || "default",
    states: request.states,
    capability: request.capability,
    user: request.user,
    submittedAfter: request.submittedAfter && timestampDate(request.submittedAfter),
    submittedBefore: request.submittedBefore && timestampDate(request.submittedBefore),
    before,
    limit: limit + 1,
  });
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const hasMore = rows.length > limit && last !== undefined;
  const tasks = [];
  for (const row of page) tasks.push(await reader.describe(row, { payloads: false }));
  return { tasks, nextPageToken: hasMore ? toPageToken({ segment: last.segment, taskKey: last.task_key }) : "" };
}
