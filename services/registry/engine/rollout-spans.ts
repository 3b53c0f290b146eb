import { attribute } from "#libs/telemetry/attributes.ts";
import { startSpan } from "#libs/telemetry/task-spans.ts";
import type { VersionKey } from "./weights.ts";

/** Ends the span; a given text says why nothing was changed. */
export type EndSpan = (refusal?: string) => void;

export function startRolloutSpan(step: string, { namespace, name, version }: VersionKey): EndSpan {
  const span = startSpan(`rollout ${step}`, {
    attributes: {
      [attribute.namespace]: namespace,
      [attribute.agentName]: name,
      [attribute.agentVersion]: version,
    },
  });
  return (refusal) => {
    if (refusal !== undefined) span.recordError(refusal);
    span.end();
  };
}
