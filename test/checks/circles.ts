import type { Import } from "./imports.ts";

/**
 * Circles of imports among files, one for each knot. Inside one folder of libs/ or services/ a type may point back,
 * since it is gone before anything runs; across folders it may not. Generated code is left out.
 */
export function circles(graph: ReadonlyMap<string, readonly Import[]>): string[][] {
  const found: string[][] = [];
  const state = new Map<string, "open" | "done">();
  const path: string[] = [];

  const visit = (file: string): void => {
    state.set(file, "open");
    path.push(file);
    for (const { target, typeOnly } of graph.get(file) ?? []) {
      if (!graph.has(target) || target.startsWith("libs/proto/") || (typeOnly && home(file) === home(target))) continue;
      if (state.get(target) === "open") found.push([...path.slice(path.indexOf(target)), target]);
      else if (!state.has(target)) visit(target);
    }
    path.pop();
    state.set(file, "done");
  };
  for (const file of graph.keys()) if (!state.has(file)) visit(file);
  return found;
}

const home = (path: string): string => path.split("/").slice(0, 2).join("/");
