import { TaskError } from "../task-error.ts";

export type Ecosystem = "npm" | "pypi";

// Every name begins with a letter, a digit or a scope, so that none can be an option; none can be a path, a URL or a tag.
const npmName = /^(@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/;
const pypiName = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
// Semantic Versioning 2.0.0 without build metadata, which npm ignores.
const npmVersion = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/;
// The normal form of the version specifiers specification (PEP 440), without local versions, which no index has.
const pypiVersion = /^([1-9]\d*!)?(0|[1-9]\d*)(\.(0|[1-9]\d*))*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?$/;

const nameRule = {
  npm: "an npm name is lower-case letters, digits, '.', '_' and '-', perhaps after a scope, such as @scope/name",
  pypi: "a PyPI name is letters, digits, '.', '_' and '-', and begins and ends with a letter or digit",
};
const versionRule = {
  npm: "exactly one version is needed, such as 1.2.3 or 1.2.3-beta.1: no range, tag, 'v' or build metadata",
  pypi: "exactly one version in normal form is needed, such as 1.2.3 or 2.0rc1: no range, wildcard, 'v' or leading zeros",
};
// npm's limit for names; a version is never near it.
const maxLength = 214;

export function refused(message: string, details?: unknown): TaskError {
  return new TaskError(message, { code: "PACKAGE_REFUSED", retryable: false, details });
}

/**
 * The form in which names are compared: on PyPI lower case, with one `-` for each run of `-`, `_` and `.` (PEP 503). On npm
 * the name itself: `JSONStream` is another package than `jsonstream`, so capitals are refused and not made small.
 * @throws TaskError `PACKAGE_REFUSED`
 */
export function normalName(ecosystem: Ecosystem, name: unknown): string {
  const checked = plain("name", name);
  if (checked.includes("..")) throw refused(`The package name ${quote(checked)} contains "..".`);
  const pattern = ecosystem === "npm" ? npmName : pypiName;
  if (!pattern.test(checked)) throw refused(`${quote(checked)} is no package name: ${nameRule[ecosystem]}.`);
  return ecosystem === "npm" ? checked : checked.toLowerCase().replaceAll(/[-_.]+/g, "-");
}

/** @throws TaskError `PACKAGE_REFUSED` */
export function exactVersion(ecosystem: Ecosystem, version: unknown): string {
  const checked = plain("version", version);
  const pattern = ecosystem === "npm" ? npmVersion : pypiVersion;
  if (!pattern.test(checked)) throw refused(`${quote(checked)} is no version: ${versionRule[ecosystem]}.`);
  return checked;
}

/** A string of ASCII: what looks like a letter and is another is named. */
function plain(what: string, value: unknown): string {
  if (typeof value !== "string") throw refused(`The package ${what} is no string.`);
  if (value === "") throw refused(`The package ${what} is empty.`);
  if (value.length > maxLength) throw refused(`The package ${what} is longer than ${maxLength} characters.`);
  const strange = /[^\x21-\x7e]/u.exec(value);
  if (strange === null) return value;
  const codePoint = strange[0].codePointAt(0)!;
  const hex = codePoint.toString(16).toUpperCase().padStart(4, "0");
  const shown = /[\p{L}\p{N}\p{P}\p{S}]/u.test(strange[0]) ? ` (${strange[0]})` : "";
  const why = codePoint < 0x80 ? "spaces and control characters are not allowed" : "only ASCII is allowed";
  throw refused(
    `The package ${what} ${quote(value)} contains U+${hex}${shown} at position ${strange.index + 1}: ${why}.`,
  );
}

/** In quotes, in ASCII. */
export function quote(value: string): string {
  return JSON.stringify(value).replaceAll(/[^\x20-\x7e]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
