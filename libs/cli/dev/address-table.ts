import { styleText } from "node:util";
import type { TraceTarget } from "./find-traces.ts";
import { defaultPortBase, type ServicePlan } from "./port-plan.ts";

export interface TableContent {
  readonly plan: readonly ServicePlan[];
  readonly database: string;
  readonly logs: string;
  /** What the demo agents offer; empty: there are none. */
  readonly capabilities: readonly string[];
  /** Where spans are sent, if they are. */
  readonly traces: Pick<TraceTarget, "endpoint" | "found"> | undefined;
}

/** Where everything is: one line a thing, for a person. */
export function addressTable(content: TableContent, colors: boolean): string[] {
  const { plan, database, logs, capabilities, traces } = content;
  const rows = plan.map(({ title, grpcPort, httpPort }): [string, string] => [
    title,
    `gRPC 127.0.0.1:${grpcPort}   HTTP http://127.0.0.1:${httpPort}`,
  ]);
  rows.push(["Postgres", database]);
  if (capabilities.length > 0) rows.push(["Agents", capabilities.join(", ")]);
  if (traces !== undefined) rows.push(["Traces to", `${traces.endpoint}${traces.found ? " (found there)" : ""}`]);
  rows.push(["Logs", logs]);
  const width = Math.max(...rows.map(([name]) => name.length));
  const paint = (name: string): string => (colors ? styleText("bold", name, { validateStream: false }) : name);
  // Padded before it is painted: escape codes have no width.
  return rows.map(([name, text]) => `  ${paint(name.padEnd(width))}  ${text}`);
}

/** The last line of a start. What begins with `legion is ready` is what scripts wait for. */
export function readyLine({ plan, capabilities }: Pick<TableContent, "plan" | "capabilities">): string {
  const portBase = (plan[0]?.grpcPort ?? 0) - 1;
  const flag = portBase === defaultPortBase ? "" : ` --port-base ${portBase}`;
  const command = capabilities.includes("greet") ? `legion run greet '{"name":"Ada"}'` : "legion health";
  return `legion is ready: try  npx ${command}${flag}`;
}
