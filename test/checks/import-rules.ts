import { type Import, importsOf, withoutComments } from "./imports.ts";
import { circles } from "./circles.ts";

/** Files by their path from the root, with their text. */
export type Sources = ReadonlyMap<string, string>;

type Rule = (path: string, target: string) => string | undefined;

const serviceOf = (path: string): string | undefined => /^services\/([^/]+)\//.exec(path)?.[1];
const isPackage = (target: string, ...names: string[]): boolean =>
  names.some((name) => target === name || target.startsWith(`${name}/`));

// The parts of a service, each allowed to import those named after it. Files of no part may import any but main.ts.
const layers: [part: RegExp, imports: RegExp][] = [
  [/^service\.ts$/, /^(?!main\.ts)/],
  [/^config\.ts$/, /^config\.ts$/],
  [/^rpc\//, /^(rpc|engine|core|sql)\/|^(?!main\.ts|service\.ts)[^/]+\.ts$/],
  [/^engine\//, /^(engine|core|sql)\/|^config\.ts$/],
  [/^core\//, /^core\//],
  [/^sql\//, /^(sql|core)\//],
];

const rules: Rule[] = [
  (path, target) => {
    const service = serviceOf(path);
    const other = serviceOf(target);
    if (service !== undefined && other !== undefined && other !== service) return "a service imports another service";
    if (path.startsWith("libs/") && other !== undefined) return "a lib imports a service";
    return undefined;
  },
  (path, target) =>
    target.startsWith("test/") && !path.startsWith("test/") ? "something outside test/ imports test/" : undefined,
  (path, target) => {
    const service = serviceOf(path);
    if (service === undefined || serviceOf(target) !== service) return undefined;
    const from = path.slice(`services/${service}/`.length);
    const to = target.slice(`services/${service}/`.length);
    if (to === "main.ts") return "something imports main.ts";
    const layer = layers.find(([part]) => part.test(from));
    return layer === undefined || layer[1].test(to)
      ? undefined
      : "main → service → rpc → engine → core, sql is the only direction";
  },
  (path, target) => {
    if (!/^services\/[^/]+\/core\//.test(path) || serviceOf(target) === serviceOf(path)) return undefined;
    const allowed = /^libs\/(proto|clock)\//.test(target) || isPackage(target, "@bufbuild/protobuf", "node:buffer");
    return allowed ? undefined : "core/ imports more than generated types and the clock";
  },
  (path, target) =>
    isPackage(target, "@grpc/grpc-js") && !/^libs\/rpc\/|^libs\/(agent|client)\/(.*\/)?channel[^/]*\.ts$/.test(path)
      ? "grpc-js is imported outside libs/rpc and the SDKs' channel"
      : undefined,
  (path, target) =>
    isPackage(target, "kysely", "pg", "pg-pool") && !/^libs\/db\/|^services\/[^/]+\/sql\//.test(path)
      ? "kysely or pg is imported outside sql/ and libs/db"
      : undefined,
  (path, target) =>
    target.startsWith("@opentelemetry/") &&
    !isPackage(target, "@opentelemetry/api") &&
    !path.startsWith("libs/telemetry/")
      ? "the OpenTelemetry SDK is imported outside libs/telemetry"
      : undefined,
];

/** Every breach of the rules on who may know whom, as a sentence each. Tests may import what they like. */
export function importProblems(sources: Sources): string[] {
  const problems: string[] = [];
  const graph = new Map<string, Import[]>();
  for (const [path, text] of sources) {
    const imports = importsOf(path, text);
    graph.set(path, imports);
    for (const { target, local } of imports) {
      if (local && !target.endsWith(".json") && !sources.has(target))
        problems.push(`${path} imports ${target}: there is no such file`);
      if (path.startsWith("test/")) continue;
      for (const rule of rules) {
        const breach = rule(path, target);
        if (breach !== undefined) problems.push(`${path} imports ${target}: ${breach}`);
      }
    }
    problems.push(...foreignSchemas(path, text));
  }
  for (const circle of circles(graph)) problems.push(`a circle of imports: ${circle.join(" → ")}`);
  return problems;
}

const schemas = ["registry", "dispatcher", "ratelimit", "watchdog"];

/** A service's SQL that names a table in the schema of another. */
function foreignSchemas(path: string, text: string): string[] {
  const service = serviceOf(path);
  if (service === undefined) return [];
  return schemas
    .filter((schema) => schema !== service)
    .flatMap((schema) => {
      const named = new RegExp(
        `(?:\\b(?:from|join|into|update|table|references|on|only|schema)\\s+|["'\`])"?${schema}"?\\.["\\w]+`,
        "i",
      );
      const found = named.exec(withoutComments(text))?.[0];
      return found === undefined ? [] : [`${path} touches the schema of another service: ${found.trim()}`];
    });
}
