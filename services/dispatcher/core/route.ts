import type { Label } from "#libs/proto/legion/common/v1/label_pb.ts";

/** A capability with the labels asked for beside it; tasks of one route can be run by the same sessions. */
export interface Route {
  readonly routeKey: number;
  readonly namespace: string;
  readonly capability: string;
  readonly requiredLabels: readonly LabelPair[];
}

export type LabelPair = readonly [key: string, value: string];

/** Labels as pairs sorted by key; of a key that appears twice the last one counts. */
export function labelPairs(labels: readonly Label[]): LabelPair[] {
  if (labels.length === 0) return [];
  return [...new Map(labels.map(({ key, value }) => [key, value]))].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Names a capability of a namespace; neither holds a line feed. */
export function capabilityName(namespace: string, capability: string): string {
  return `${namespace}\n${capability}`;
}

/** Names a route before it has a key. */
export function routeName(namespace: string, capability: string, requiredLabels: string): string {
  return `${namespace}\n${capability}\n${requiredLabels}`;
}

export function hasLabels(labels: ReadonlyMap<string, string>, required: readonly LabelPair[]): boolean {
  for (const [key, value] of required) if (labels.get(key) !== value) return false;
  return true;
}
