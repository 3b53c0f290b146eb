import { createRequire } from "node:module";
import type { Ajv as Ajv07, ErrorObject, Options, ValidateFunction } from "ajv";
import { RE2JS } from "re2js";
import type { Schema } from "./inspect-schema.ts";

/** One reason why data do not match. */
export interface Violation {
  /** Where, from the root of the data: `.items[0].name`; empty for the root. */
  readonly path: string;
  /** What is wrong there, such as "must be string". */
  readonly message: string;
}

/** @returns at most 20 violations; none if the data match. */
export type Check = (data: unknown) => Violation[];

const maxViolations = 20;
const maxTextLength = 200;
// Listing every violation of large data can take far more memory than the data.
const listAllBelowBytes = 64 * 1024;

// Both packages are CommonJS and give TypeScript other types than they have.
const require = createRequire(import.meta.url);
const Draft07 = (require("ajv") as { Ajv: typeof Ajv07 }).Ajv;
const Draft2020 = (require("ajv/dist/2020") as { Ajv2020: typeof Ajv07 }).Ajv2020;
const addFormats = (require("ajv-formats") as { default: (ajv: Ajv07, options: object) => Ajv07 }).default;

// An instance keeps something of all that it ever compiled, so it is replaced from time to time; making one takes 20 ms.
const schemasAnInstance = 100;
const instances = new Map<string, { readonly ajv: Ajv07; uses: number }>();

/** Runs code made from the schema, so only in the thread, under a time limit. @throws when the schema is not valid */
export function compileCheck(schema: Schema): (data: unknown, bytes: number) => Violation[] {
  const first = compile(schema, false);
  let all: ValidateFunction | undefined;
  return (data, bytes) => {
    if (first(data)) return [];
    if (bytes > listAllBelowBytes) return violationsOf(first.errors);
    all ??= compile(schema, true);
    all(data);
    return violationsOf(all.errors);
  };
}

function compile(schema: Schema, allErrors: boolean): ValidateFunction {
  if (typeof schema === "boolean") return instanceOf("2020", allErrors).compile(schema);
  // An $id would make the references inside mean something else where it is one that Ajv knows; $async, a promise.
  const { $id: _id, $async: _async, ...own } = schema;
  const draft = String(own["$schema"]).includes("draft-07") ? "07" : "2020";
  return instanceOf(draft, allErrors).compile(own);
}

function instanceOf(draft: "07" | "2020", allErrors: boolean): Ajv07 {
  const key = `${draft} ${allErrors}`;
  let instance = instances.get(key);
  if (instance === undefined || instance.uses === schemasAnInstance) {
    const options: Options = {
      allErrors,
      // Keywords we do not know are allowed, as the specification wants it.
      strict: false,
      logger: false,
      addUsedSchema: false,
      // Copies of what is referred to could grow exponentially.
      inlineRefs: false,
      // "toString" and "__proto__" are properties only of data that have them.
      ownProperties: true,
      code: { regExp: Object.assign(linearRegExp, { code: "linearRegExp" }) },
    };
    const ajv = draft === "07" ? new Draft07(options) : new Draft2020(options);
    addFormats(ajv, { mode: "fast" });
    instance = { ajv, uses: 0 };
    instances.set(key, instance);
  }
  instance.uses++;
  return instance.ajv;
}

/** Linear in the text, whatever the pattern. What cannot be (look-around, back references) is refused. */
function linearRegExp(pattern: string): { test: (text: string) => boolean; toString: () => string } {
  try {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
    // Ajv takes two patterns of one name for the same.
    return { test: (text) => compiled.test(text), toString: () => pattern };
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new Error(`the pattern ${JSON.stringify(shorten(pattern))} is not taken: ${cause}`, { cause: error });
  }
}

function violationsOf(errors: readonly ErrorObject[] | null | undefined): Violation[] {
  // "if" only says that a branch failed, which has its own errors.
  const told = (errors ?? []).filter(({ keyword }) => keyword !== "if").slice(0, maxViolations);
  return told.length > 0 ? told.map(toViolation) : [{ path: "", message: "does not match" }];
}

function toViolation({ instancePath, keyword, params, message = "is not valid" }: ErrorObject): Violation {
  const path = toPath(instancePath);
  const given = params as Record<string, unknown>;
  switch (keyword) {
    case "required":
      return { path: `${path}${step(String(given["missingProperty"]))}`, message: "is required" };
    case "additionalProperties":
      return { path: `${path}${step(String(given["additionalProperty"]))}`, message: "is not a known property" };
    case "unevaluatedProperties":
      return { path: `${path}${step(String(given["unevaluatedProperty"]))}`, message: "is not a known property" };
    case "enum":
      return { path, message: `must be one of ${shorten(JSON.stringify(given["allowedValues"]))}` };
    case "const":
      return { path, message: `must be ${shorten(JSON.stringify(given["allowedValue"]))}` };
    default:
      return { path, message: shorten(message) };
  }
}

/** `/items/0/a~1b` → `.items[0]["a/b"]` */
function toPath(pointer: string): string {
  const steps = pointer.split("/").slice(1, 50);
  return shorten(steps.map((part) => step(part.replaceAll("~1", "/").replaceAll("~0", "~"))).join(""));
}

function step(name: string): string {
  if (/^\d+$/.test(name)) return `[${name}]`;
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${shorten(name)}` : `[${JSON.stringify(shorten(name))}]`;
}

const shorten = (text: string): string =>
  text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength - 1)}…`;
