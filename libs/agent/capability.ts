import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { create } from "@bufbuild/protobuf";
import { type Capability, CapabilitySchema } from "#libs/proto/legion/registry/v1/capability_pb.ts";
import type { TaskData } from "./json.ts";
import { TaskError } from "./task-error.ts";

/** A JSON Schema (2020-12 or draft-07), as an object. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Something that an agent can do. */
export interface CapabilityDeclaration {
  /** 1 to 128 characters: letters, digits, `.`, `_`, `-`, `/`, beginning with a letter or digit. */
  readonly name: string;
  /** How many tasks of it the agent takes at once, within its own `slots`. Default: as many as those. */
  readonly slots?: number;
  /**
   * What a task's data must match. A Standard Schema (zod 4, ArkType, Valibot …) is checked by the agent, whose handler is
   * given the schema's output; if it can be written as JSON Schema the mesh refuses what does not match at its door. A
   * plain JSON Schema is checked by the mesh alone. At most 64 KiB as JSON. Default: any object.
   */
  readonly input?: StandardSchemaV1 | JsonSchema;
}

/** @throws TypeError when the schema cannot be written as JSON Schema. */
export function toCapability({ name, slots, input }: CapabilityDeclaration): Capability {
  return create(CapabilitySchema, { name, slots: slots ?? 0, inputSchema: jsonSchemaText(name, input) });
}

function jsonSchemaText(name: string, input: CapabilityDeclaration["input"]): string {
  if (input === undefined) return "";
  if (!isStandardSchema(input)) return JSON.stringify(input);
  const standard = input["~standard"] as StandardSchemaV1.Props & Partial<StandardJSONSchemaV1.Props>;
  if (standard.jsonSchema === undefined) return "";
  try {
    // What has no counterpart in JSON Schema, such as a coerced date, is left to the agent's own check: zod's word for it.
    const libraryOptions = { unrepresentable: "any" };
    return JSON.stringify(standard.jsonSchema.input({ target: "draft-2020-12", libraryOptions }));
  } catch (cause) {
    throw new TypeError(`The input schema of capability ${name} cannot be written as JSON Schema.`, { cause });
  }
}

/** Turns a task's data into what the handler is given, or throws TaskError TASK_DATA_SCHEMA_MISMATCH. */
export type InputCheck = (data: TaskData) => TaskData | Promise<TaskData>;

/** Undefined when there is nothing that the agent itself must check. */
export function inputCheck(input: CapabilityDeclaration["input"]): InputCheck | undefined {
  if (input === undefined || !isStandardSchema(input)) return undefined;
  const { validate } = input["~standard"];
  return (data) => {
    const result = validate(data);
    return result instanceof Promise ? result.then(outputOf) : outputOf(result);
  };
}

function outputOf(result: StandardSchemaV1.Result<TaskData>): TaskData {
  if (result.issues === undefined) return result.value;
  const violations = result.issues.slice(0, 10).map(({ path, message }) => ({
    path: (path ?? []).map((segment) => String(typeof segment === "object" ? segment.key : segment)).join("."),
    message,
  }));
  const first = violations[0];
  const message = first === undefined ? "does not match its schema" : `${first.path}: ${first.message}`;
  throw new TaskError(`The task's data does not match the capability's schema: ${message}`, {
    code: "TASK_DATA_SCHEMA_MISMATCH",
    retryable: false,
    callerFault: true,
    details: { violations },
  });
}

function isStandardSchema(input: object): input is StandardSchemaV1<unknown, TaskData> {
  return "~standard" in input;
}
