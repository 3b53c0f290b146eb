import { isFieldSet } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  type FileDescriptorProto,
  type MethodDescriptorProto,
  type ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { commentsOf, contracts, inEnum, inFile, inMessage, inService } from "./descriptors.ts";
import { fieldRules, isRequired } from "./field-rules.ts";
import { Slugs } from "./slugs.ts";

type Comments = (path: readonly number[]) => string;

/** What has a heading, with where its comments are. */
type Item =
  | { readonly kind: "service"; readonly name: string; readonly desc: ServiceDescriptorProto; readonly path: number[] }
  | { readonly kind: "message"; readonly name: string; readonly desc: DescriptorProto; readonly path: number[] }
  | { readonly kind: "enum"; readonly name: string; readonly desc: EnumDescriptorProto; readonly path: number[] };

const introduction = `# API

The contracts in [proto/legion](../proto/legion), made from their comments: \`npm run docs\`. Rules are checked before a call is handled, on gRPC and on
JSON alike; what breaks one is \`INVALID_ARGUMENT\` with the paths of the fields. What comes in on the bidirectional streams is checked item by item, and
answered as their comments say. Every RPC but those can be called with JSON at \`POST /<package>.<Service>/<Method>\` on the [HTTP port](operations.md#ports).
`;

/** docs/api.md. */
export function apiPage(): string {
  const files = contracts();
  const slugs = new Slugs();
  slugs.of("API");
  const packages = [...Map.groupBy(files, (file) => file.package)];
  // Every heading in its order, so that a link has the slug that the page will give it.
  const links = new Map<string, string>();
  const contents: string[] = [];
  for (const [name, its] of packages) {
    contents.push(`- [${name}](#${slugs.of(name)})`);
    for (const item of its.flatMap(itemsOf)) {
      const slug = slugs.of(headingOf(item));
      links.set(`${name}.${item.name}`, slug);
      if (item.kind !== "service") continue;
      const methods = item.desc.method.map((method) => `[${method.name}](#${slugs.of(`${item.name}.${method.name}`)})`);
      contents.push(`  - [${item.name}](#${slug}): ${methods.join(", ")}`);
    }
  }
  const page = [introduction, ...contents, ""];
  for (const [name, its] of packages) {
    page.push(`## ${name}`, "");
    for (const file of its) page.push(...new FilePage(file, links).lines());
  }
  return `${page.join("\n").trimEnd()}\n`;
}

const headingOf = ({ kind, name }: Item): string => (kind === "service" ? `Service ${name}` : name);

/** Services first, then messages, each followed by what is declared in it, then enums. */
function itemsOf(file: FileDescriptorProto): Item[] {
  const messages = (
    descs: readonly DescriptorProto[],
    outer: string,
    path: readonly number[],
    number: number,
  ): Item[] =>
    descs.flatMap((desc, index) => {
      const name = `${outer}${desc.name}`;
      const own = [...path, number, index];
      if (desc.options?.mapEntry) return [];
      return [
        { kind: "message", name, desc, path: own },
        ...messages(desc.nestedType, `${name}.`, own, inMessage.message),
        ...enums(desc.enumType, `${name}.`, own, inMessage.enum),
      ];
    });
  const enums = (
    descs: readonly EnumDescriptorProto[],
    outer: string,
    path: readonly number[],
    number: number,
  ): Item[] =>
    descs.map((desc, index) => ({ kind: "enum", name: `${outer}${desc.name}`, desc, path: [...path, number, index] }));
  return [
    ...file.service.map((desc, index): Item => {
      return { kind: "service", name: desc.name, desc, path: [inFile.service, index] };
    }),
    ...messages(file.messageType, "", [], inFile.message),
    ...enums(file.enumType, "", [], inFile.enum),
  ];
}

class FilePage {
  readonly #file: FileDescriptorProto;
  readonly #links: ReadonlyMap<string, string>;
  readonly #comments: Comments;

  constructor(file: FileDescriptorProto, links: ReadonlyMap<string, string>) {
    this.#file = file;
    this.#links = links;
    this.#comments = commentsOf(file);
  }

  lines(): string[] {
    return itemsOf(this.#file).flatMap((item) => [
      `### ${headingOf(item)}`,
      "",
      prose(this.#comments(item.path)),
      "",
      ...(item.kind === "service"
        ? item.desc.method.flatMap((method, index) =>
            this.#method(item.name, method, [...item.path, inService.method, index]),
          )
        : item.kind === "message"
          ? this.#fields(item.desc, item.path)
          : this.#values(item.desc, item.path)),
    ]);
  }

  #method(service: string, method: MethodDescriptorProto, path: readonly number[]): string[] {
    const { name, inputType, outputType, clientStreaming, serverStreaming } = method;
    const request = `${clientStreaming ? "stream of " : ""}${this.#type(inputType)}`;
    const response = `${serverStreaming ? "stream of " : ""}${this.#type(outputType)}`;
    return [`#### ${service}.${name}`, "", `${request} → ${response}`, "", prose(this.#comments(path)), ""];
  }

  #fields({ field, oneofDecl }: DescriptorProto, path: readonly number[]): string[] {
    if (field.length === 0) return ["It has no fields.", ""];
    const seen = new Set<number>();
    const rows = field.map((each, index) => {
      const notes: string[] = [];
      if (isInOneof(each)) {
        const group = oneofDecl[each.oneofIndex]!;
        const isFirst = !seen.has(each.oneofIndex);
        seen.add(each.oneofIndex);
        const about = isFirst ? cell(this.#comments([...path, inMessage.oneof, each.oneofIndex])) : "";
        notes.push(
          `_One of \`${group.name}\`${isRequired(group) ? ", required" : ""}._${about === "" ? "" : ` _${about}_`}`,
        );
      }
      notes.push(cell(this.#comments([...path, inMessage.field, index])));
      const rules = escapePipes(fieldRules(each));
      if (rules !== "") notes.push(`Rule: ${rules}`);
      return `| \`${each.name}\` | ${this.#fieldType(each)} | ${each.number} | ${notes.join("<br>")} |`;
    });
    return ["| Field | Type | No. | What it is |", "| --- | --- | ---: | --- |", ...rows, ""];
  }

  #values({ value }: EnumDescriptorProto, path: readonly number[]): string[] {
    const rows = value.map(
      ({ name, number }, index) =>
        `| \`${name}\` | ${number} | ${cell(this.#comments([...path, inEnum.value, index]))} |`,
    );
    return ["| Value | No. | What it means |", "| --- | ---: | --- |", ...rows, ""];
  }

  #fieldType({ label, type, typeName }: FieldDescriptorProto): string {
    const name = typeName === "" ? Type[type].toLowerCase() : this.#type(typeName);
    return label === Label.REPEATED ? `repeated ${name}` : name;
  }

  /** A name of a type, with a link if it is ours. */
  #type(fullName: string): string {
    const name = fullName.replace(/^\./, "");
    const slug = this.#links.get(name);
    const short = name.startsWith(`${this.#file.package}.`) ? name.slice(this.#file.package.length + 1) : name;
    return slug === undefined ? short : `[${short.replace(/^legion\./, "")}](#${slug})`;
  }
}

// `optional` makes a oneof of its own, which nobody wrote.
const isInOneof = (field: FieldDescriptorProto): boolean =>
  isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex) && !field.proto3Optional;

const escapePipes = (text: string): string => text.replaceAll("|", "\\|");

/** Markdown is written in comments; what is no code must not become HTML. */
function prose(comment: string): string {
  return comment
    .split(/(`[^`]*`)/)
    .map((part, index) => (index % 2 === 1 ? part : part.replaceAll("<", "&lt;").replaceAll("*", "\\*")))
    .join("");
}

function cell(comment: string): string {
  return escapePipes(prose(comment).replaceAll(/\n\n+/g, "<br>").replaceAll("\n", " "));
}
