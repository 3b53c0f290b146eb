import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { root } from "./repository.ts";

// The numbers of fields in a FileDescriptorProto and below it, which paths of comments are made of.
export const inFile = { message: 4, enum: 5, service: 6 } as const;
export const inMessage = { field: 2, message: 3, enum: 4, oneof: 8 } as const;
export const inEnum = { value: 2 } as const;
export const inService = { method: 2 } as const;

/** The contracts' files, in the order of their packages and names, with their comments. */
export function contracts(): FileDescriptorProto[] {
  const image = execFileSync(join(root, "node_modules/.bin/buf"), ["build", "--as-file-descriptor-set", "-o", "-"], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
  });
  return fromBinary(FileDescriptorSetSchema, image)
    .file.filter(({ name }) => name.startsWith("legion/"))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Looks up the comment before what is at a path. */
export function commentsOf({ sourceCodeInfo }: FileDescriptorProto): (path: readonly number[]) => string {
  const comments = new Map<string, string>();
  for (const { path, leadingComments } of sourceCodeInfo?.location ?? []) {
    if (leadingComments !== "") comments.set(path.join(), leadingComments.replaceAll(/^ /gm, "").trim());
  }
  return (path) => comments.get(path.join()) ?? "";
}
