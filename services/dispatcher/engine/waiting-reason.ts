import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Matcher } from "../core/matcher.ts";
import { labelPairs } from "../core/route.ts";
import type { HomeSession } from "./session.ts";

/** Why a task in the queue is not with an agent, in a sentence, as far as this instance's own sessions tell. */
export function queuedReason(matcher: Matcher<HomeSession>, spec: TaskSpec, ahead: number | undefined): string {
  const { namespace, capability } = spec;
  const required = labelPairs(spec.requiredLabels);
  if (!matcher.offers(namespace, capability)) return `no agent offers '${capability}' yet`;
  if (!matcher.offers(namespace, capability, required)) {
    return `no agent that offers '${capability}' has the labels ${required.map(([key, value]) => `${key}=${value}`).join(", ")}`;
  }
  const before =
    ahead === undefined
      ? ""
      : ahead > 10_000
        ? "; more than 10,000 tasks are before it"
        : `; ${plural(ahead)} before it`;
  return `all slots of the agents that offer '${capability}' are busy${before}`;
}

function plural(ahead: number): string {
  if (ahead === 0) return "no task is";
  return ahead === 1 ? "1 task is" : `${ahead.toLocaleString("en-US")} tasks are`;
}
