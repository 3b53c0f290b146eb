/** Where programs find the mesh; a list of `host:port` each. */
export interface Endpoints {
  readonly registry: readonly string[];
  readonly dispatcher: readonly string[];
}

/** The variables by which agents and clients of every language are told; whatever else it takes to connect belongs here. */
export function endpointVariables({ registry, dispatcher }: Endpoints): Record<string, string> {
  return { LEGION_REGISTRY: registry.join(","), LEGION_DISPATCHER: dispatcher.join(",") };
}
