import { SchemaError } from "./schema-error.ts";

export const maxSchemaBytes = 64 * 1024;
/** Levels of objects and arrays. Schemas written by people or made from types stay below 30. */
export const maxSchemaDepth = 64;
/** Schemas within the schema. Each costs about 1 KiB of generated code. */
export const maxSubschemas = 2_000;

export type Schema = boolean | { readonly [keyword: string]: unknown };

const drafts = new Set(["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema"]);

// Where a schema can stand inside a schema, in 2020-12 and draft-07. Everything else (const, enum, default, examples …) is
// data, in which "$ref" means nothing.
const single = new Set([
  "additionalItems",
  "additionalProperties",
  "contains",
  "contentSchema",
  "else",
  "if",
  "items",
  "not",
  "propertyNames",
  "then",
  "unevaluatedItems",
  "unevaluatedProperties",
]);
const listed = new Set(["allOf", "anyOf", "items", "oneOf", "prefixItems"]);
const named = new Set(["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"]);
const references = ["$ref", "$dynamicRef", "$recursiveRef"];

/**
 * Reads a JSON Schema and looks at its shape, in time linear in its length.
 * @throws SchemaError
 */
export function inspectSchema(text: string): Schema {
  if (Buffer.byteLength(text) > maxSchemaBytes) {
    throw new SchemaError(
      "SCHEMA_TOO_LARGE",
      `is ${Buffer.byteLength(text)} bytes long; at most ${maxSchemaBytes} are taken`,
    );
  }
  const schema = parse(text);
  assertDepth(text);
  assertDraft(schema);
  const waiting: [schema: unknown, path: string][] = [[schema, "#"]];
  for (let count = 1; waiting.length > 0; count++) {
    if (count > maxSubschemas) {
      throw new SchemaError("SCHEMA_TOO_LARGE", `contains more than ${maxSubschemas} schemas`);
    }
    const [next, path] = waiting.pop()!;
    if (!isObject(next)) continue;
    assertLocal(next, path);
    for (const [keyword, value] of Object.entries(next)) {
      const at = `${path}/${keyword}`;
      if (listed.has(keyword) && Array.isArray(value))
        value.forEach((item, index) => waiting.push([item, `${at}/${index}`]));
      else if (single.has(keyword)) waiting.push([value, at]);
      else if (named.has(keyword) && isObject(value)) {
        for (const [name, item] of Object.entries(value)) waiting.push([item, `${at}/${name}`]);
      }
    }
  }
  return schema;
}

function parse(text: string): Schema {
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch (error) {
    throw new SchemaError("SCHEMA_INVALID", `is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof schema !== "boolean" && !isObject(schema)) {
    throw new SchemaError("SCHEMA_INVALID", "must be a JSON object, or true or false");
  }
  return schema;
}

/** On the text, because it must hold for the parts as well that are data. */
function assertDepth(text: string): void {
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    if (depth > maxSchemaDepth) {
      throw new SchemaError("SCHEMA_TOO_LARGE", `is nested deeper than ${maxSchemaDepth} levels`);
    }
  }
}

function assertDraft(schema: Schema): void {
  const draft = isObject(schema) ? schema["$schema"] : undefined;
  if (draft === undefined) return;
  if (typeof draft !== "string" || !drafts.has(draft.replace(/#$/, ""))) {
    const known = [...drafts].join(" or ");
    throw new SchemaError(
      "SCHEMA_INVALID",
      `names the dialect ${JSON.stringify(draft).slice(0, 200)} in $schema; known are ${known}`,
    );
  }
}

/** Nothing outside the document is referred to. The document's own `$id` only names it. */
function assertLocal(schema: Readonly<Record<string, unknown>>, path: string): void {
  for (const keyword of references) {
    const target = schema[keyword];
    if (typeof target === "string" && !target.startsWith("#")) throw remote(keyword, target, path);
  }
  const id = schema["$id"];
  // An id further inside makes references there mean something else. "#name" is draft-07's way to write an anchor.
  if (path !== "#" && typeof id === "string" && !id.startsWith("#")) throw remote("$id", id, path);
}

function remote(keyword: string, target: string, path: string): SchemaError {
  return new SchemaError(
    "SCHEMA_REMOTE",
    `has a ${keyword} to ${JSON.stringify(target).slice(0, 200)} at ${path.slice(0, 200)}`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
