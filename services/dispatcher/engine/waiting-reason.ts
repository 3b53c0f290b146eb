import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Matcher } from "../core/matcher.ts";
import { labelPairs } from "../core/route.ts";
import type { ParkedPlace } from "../sql/find-parked.ts";
import type { HomeSession } from "./session.ts";

/** Why a task in the queue is not with an agent, in a sentence, as far as this instance's own sessions tell. */
export function queuedReason(matcher: Matcher<HomeSession>, spec: TaskSpec, ahead: number | undefined): string {
  const { namespace, capability } = spec;
  const required = labelPairs(spec.requiredLabels);
  if (!matcher.offers(namespace, capability)) return `no agent offers '${capability}' yet`;
  if (!matcher.offers(namespace, capability, required)) {
    return `no agent that offers '${capability}' has the labels ${required.map(([key, value]) => `${key}=${value}`).join(", ")}`;
  }
  if (!matcher.isServed(namespace, capability, required)) {
    return `the agents that offer '${capability}' are given no work: their version has the weight 0, or they drain or rest`;
  }
  return `all slots of the agents that offer '${capability}' are busy${ahead === undefined ? "" : `; ${before(ahead)}`}`;
}

/** Why limits hold a task back. What changes all the time comes after a semicolon. */
export function parkedReason(matcher: Matcher<HomeSession>, spec: TaskSpec, place: ParkedPlace): string {
  const { limit_name: limit, bucket_key: key, held, pause_ms: pauseMs } = place;
  if (limit === null) {
    const isOffered = matcher.offers(spec.namespace, spec.capability, labelPairs(spec.requiredLabels));
    return isOffered
      ? `its limits have not been asked yet; ${before(place.ahead)}`
      : queuedReason(matcher, spec, undefined);
  }
  const name = `the limit '${limit}'${key === null || key === "" ? "" : ` for '${key}'`}`;
  if (pauseMs > 0) return `${name} is paused; for ${seconds(pauseMs)}; ${before(place.ahead)}`;
  if (held !== null) return `${name} is reached; ${held} of it running; ${before(place.ahead)}`;
  return `${name} is reached; next in ${seconds(place.delay_ms ?? 0)}; ${before(place.ahead)}`;
}

function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1_000).toFixed(1)} s`;
}

function before(ahead: number): string {
  return ahead > 10_000 ? "more than 10,000 tasks are before it" : `${plural(ahead)} before it`;
}

function plural(ahead: number): string {
  if (ahead === 0) return "no task is";
  return ahead === 1 ? "1 task is" : `${ahead.toLocaleString("en-US")} tasks are`;
}
