import { getExtension, hasExtension, toJson } from "@bufbuild/protobuf";
import type { FieldDescriptorProto, OneofDescriptorProto } from "@bufbuild/protobuf/wkt";
import { field, FieldRulesSchema, oneof } from "#libs/proto/buf/validate/validate_pb.ts";

/** What protovalidate checks of a field, in few words; empty: nothing. */
export function fieldRules({ options }: FieldDescriptorProto): string {
  if (options === undefined || !hasExtension(options, field)) return "";
  return describe(toJson(FieldRulesSchema, getExtension(options, field))).join("; ");
}

export function isRequired({ options }: OneofDescriptorProto): boolean {
  return options !== undefined && hasExtension(options, oneof) && getExtension(options, oneof).required;
}

// The rules of a type stand below the type's name, which the field's own type tells already.
const kinds = new Set(
  "string bytes bool int32 int64 uint32 uint64 sint32 sint64 float double enum repeated map duration timestamp".split(
    " ",
  ),
);

function describe(rules: unknown): string[] {
  return Object.entries(rules as Record<string, unknown>).flatMap(([name, value]) => {
    if (kinds.has(name)) return describe(value);
    if (name === "items" || name === "keys" || name === "values") {
      return describe(value).map((rule) => `each: ${rule}`);
    }
    if (name === "ignore") return ignored[String(value)] ?? [];
    const words = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    if (value === true) return words;
    return `${signs[name] ?? words} ${text(name, value)}`;
  });
}

const ignored: Readonly<Record<string, string>> = {
  IGNORE_IF_ZERO_VALUE: "unless empty",
  IGNORE_ALWAYS: "checked one by one",
};
const signs: Readonly<Record<string, string>> = { gt: ">", gte: "≥", lt: "<", lte: "≤" };

function text(name: string, value: unknown): string {
  if (name === "in" || name === "notIn") return (value as unknown[]).map((each) => `\`${String(each)}\``).join(", ");
  return name === "pattern" ? `\`${String(value)}\`` : String(value);
}
