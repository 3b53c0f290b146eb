import type { LegionError } from "#libs/client/errors.ts";
import { isJson, payloadText } from "#libs/client/payload.ts";
import { stateName } from "#libs/client/task-view.ts";
import type { StreamOutcome } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";
import { parseExactly } from "./exact-json.ts";
import { renderPayload } from "./render-json.ts";

export interface LineText {
  readonly ok: boolean;
  /** One line of JSON, without its end. */
  readonly text: string;
}

/** What `--jsonl` prints for a finished task: its result, or `{"error":{…}}`. */
export function outcomeLine({ taskId, state, attempt, outcome }: StreamOutcome): LineText {
  const about = { task_id: taskId, state: stateName(state), attempt };
  switch (outcome?.kind.case) {
    case "completed":
      return resultLine(outcome.kind.value.result, about);
    case "failed": {
      const { code, message, retryable, details } = outcome.kind.value;
      const more =
        details === undefined || details.data.length === 0 ? {} : { details: renderPayload(details)["data"] };
      return errorLine({ code: code || "ERROR", message, ...about, retryable, ...more });
    }
    case "canceled":
      return errorLine({ code: "CANCELED", message: outcome.kind.value.reason || "The task was canceled.", ...about });
    case undefined:
    default:
      return errorLine({
        code: "UNKNOWN_OUTCOME",
        message: "The outcome is of a kind this program does not know.",
        ...about,
      });
  }
}

/** For a task that the mesh did not take. */
export function refusalLine({ code, reason, message, violations }: LegionError, taskId: string): LineText {
  const more = violations.length === 0 ? {} : { violations };
  return errorLine({ code: reason ?? code, message, task_id: taskId, ...more });
}

/** For a line that is no task. */
export function badLine(number: number, problem: string): LineText {
  return errorLine({ code: "INVALID_LINE", message: `Line ${number}${problem}` });
}

function resultLine(result: Payload | undefined, about: object): LineText {
  if (result === undefined) return { ok: true, text: "null" };
  if (!isJson(result)) return { ok: true, text: JSON.stringify(renderPayload(result)) };
  const text = payloadText(result);
  try {
    // An agent may send anything and call it JSON; a line of ours must be that.
    JSON.parse(text);
    return { ok: true, text: /[\r\n]/.test(text) ? JSON.stringify(parseExactly(text)) : text };
  } catch {
    return errorLine({ code: "RESULT_NOT_JSON", message: "The result says that it is JSON but is not.", ...about });
  }
}

function errorLine(error: object): LineText {
  return { ok: false, text: JSON.stringify({ error }) };
}
