import { ConfigError } from "./config-error.ts";
import { Unacceptable, type Variable } from "./variable.ts";

export { ConfigError } from "./config-error.ts";
export { boolean, type HostPort, hostPortList, hostPortText, oneOf, originList, string, url } from "./names.ts";
export { bytes, type BytesText, duration, type DurationText, integer } from "./quantities.ts";
export type { Variable } from "./variable.ts";

/** The environment of a service: its variables by name. */
export type EnvSpec = Readonly<Record<string, Variable<unknown>>>;

export type EnvOf<S extends EnvSpec> = { readonly [K in keyof S]: S[K] extends Variable<infer T> ? T : never };

/**
 * The variables' values. One that is unset or empty takes its default.
 * @throws ConfigError that lists every problem at once.
 */
export function readEnv<const S extends EnvSpec>(spec: S, env: NodeJS.ProcessEnv): EnvOf<S> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, variable] of Object.entries(spec)) {
    // Empty counts as unset: that is what "${NAME:-}" in a compose file or a chart yields.
    const text = env[name]?.trim() ?? "";
    try {
      if (text !== "") values[name] = variable.parse(text);
      else if (variable.required && variable.defaultText === undefined) problems.push(missing(name, variable));
      else values[name] = variable.fallback;
    } catch (error) {
      if (!(error instanceof Unacceptable)) throw error;
      problems.push(unacceptable(name, text, variable, error.message));
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values as EnvOf<S>;
}

function missing(name: string, { doc, expected, example }: Variable<unknown>): string {
  return `${name} is not set (${doc}): expected ${expected}, for example ${name}=${example}`;
}

function unacceptable(name: string, text: string, { doc, expected, example, show }: Variable<unknown>, more: string) {
  const hint = more === "" ? "" : `; ${more}`;
  return `${name}=${show(text)} (${doc}): expected ${expected}, for example ${name}=${example}${hint}`;
}

/** The table a specification makes in the documentation: head, rule and a row for each variable, in markdown. */
export function describeEnv(spec: EnvSpec): string[] {
  const rows = Object.entries(spec).map(([name, variable]) => {
    const fallback =
      variable.defaultText === undefined ? (variable.required ? "required" : "–") : `\`${variable.defaultText}\``;
    return `| ${[`\`${name}\``, fallback, variable.expected, variable.doc].map(cell).join(" | ")} |`;
  });
  return ["| Variable | Default | Accepts | What it is for |", "| --- | --- | --- | --- |", ...rows];
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
