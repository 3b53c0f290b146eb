import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { importProblems } from "./import-rules.ts";
import { importsOf } from "./imports.ts";
import { filesUnder, readText, root } from "./repository.ts";

function repositorySources(): Map<string, string> {
  const paths = ["libs", "services", "test"].flatMap((folder) =>
    filesUnder(join(root, folder)).map((path) => `${folder}/${path}`),
  );
  return new Map(paths.filter((path) => path.endsWith(".ts")).map((path) => [path, readText(path)]));
}

/** A repository of these files; those that are imported and not given are there and empty. */
function sources(files: Record<string, string>): Map<string, string> {
  const map = new Map(Object.entries(files));
  for (const [path, text] of Object.entries(files)) {
    for (const { target } of importsOf(path, text)) if (target.endsWith(".ts") && !map.has(target)) map.set(target, "");
  }
  return map;
}

test("the repository keeps its rules on who may know whom", () => {
  const all = repositorySources();
  assert.ok(all.has("libs/clock/clock.ts") && all.has("test/run.ts"));
  assert.deepEqual(importProblems(all), []);
});

test("every package that is imported is a dependency, and one of libs and services is not only for development", () => {
  const manifest: Record<string, Record<string, string>> = JSON.parse(readText("package.json"));
  const { dependencies, devDependencies } = manifest;
  const problems: string[] = [];
  for (const [path, text] of repositorySources()) {
    for (const { target, local } of importsOf(path, text)) {
      if (local || target.startsWith("node:")) continue;
      const name = target
        .split("/")
        .slice(0, target.startsWith("@") ? 2 : 1)
        .join("/");
      const known = name in (dependencies ?? {}) || (path.startsWith("test/") && name in (devDependencies ?? {}));
      if (!known) problems.push(`${path} imports ${name}, which package.json does not list`);
    }
  }
  assert.deepEqual(problems, []);
});

const breaches: [path: string, source: string, said: RegExp][] = [
  ["services/registry/rpc/a.ts", `import { x } from "../../dispatcher/core/b.ts";`, /another service/],
  ["libs/cli/a.ts", `import { x } from "../../services/registry/service.ts";`, /a lib imports a service/],
  ["libs/db/a.ts", `import { x } from "../../test/harness/b.ts";`, /imports test\//],
  ["services/registry/service.ts", `import "./main.ts";`, /imports main\.ts/],
  ["services/registry/rpc/a.ts", `import type { S } from "../service.ts";`, /only direction/],
  ["services/registry/sql/a.ts", `import { x } from "../rpc/b.ts";`, /only direction/],
  ["services/registry/core/a.ts", `import { x } from "../sql/b.ts";`, /only direction/],
  ["services/registry/core/a.ts", `import { x } from "#libs/db/b.ts";`, /more than generated types/],
  ["services/registry/core/a.ts", `import { readFile } from "node:fs";`, /more than generated types/],
  ["services/registry/rpc/a.ts", `import {\n  type X,\n} from "@grpc/grpc-js";`, /grpc-js/],
  ["libs/agent/session.ts", `const g = await import("@grpc/grpc-js/build/src/index.js");`, /grpc-js/],
  ["services/registry/rpc/a.ts", `import { sql } from "kysely";`, /kysely or pg/],
  ["libs/health/a.ts", `import "node:fs"; import pg from "pg";`, /kysely or pg/],
  ["libs/health/a.ts", `export { Pool } from "pg";`, /kysely or pg/],
  ["libs/rpc/a.ts", `import * as sdk from "@opentelemetry/sdk-trace";`, /OpenTelemetry SDK/],
  [
    "services/registry/sql/a.ts",
    `sql\`select 1 from dispatcher.tasks\``,
    /schema of another service: from dispatcher\.tasks/,
  ],
  ["services/registry/sql/a.ts", `db.selectFrom("watchdog.verdicts")`, /schema of another service/],
  ["libs/db/a.ts", `import { x } from "./missing.txt"; import "#libs/none/b.js";`, /no such file/],
];
for (const [path, source, said] of breaches) {
  test(`a breach is seen: ${path}: ${source.replaceAll("\n", " ")}`, () => {
    const problems = importProblems(sources({ [path]: source }));
    assert.ok(
      problems.some((problem) => said.test(problem)),
      problems.join("\n") || "no problem was seen",
    );
  });
}

test("what the rules allow is allowed, and what only looks like an import is none", () => {
  const allowed = sources({
    "services/registry/main.ts": `import { a } from "./service.ts";`,
    "services/registry/service.ts": `import { a } from "./rpc/a.ts"; import { b } from "#libs/rpc/b.ts";`,
    "services/registry/rpc/a.ts": `import { a } from "../core/a.ts";\nimport { b } from "../sql/b.ts";`,
    "services/registry/core/a.ts": `import { create } from "@bufbuild/protobuf";\nimport type { C } from "#libs/clock/clock.ts";`,
    "services/registry/sql/b.ts": `import { sql } from "kysely"; // from dispatcher.tasks\nsql\`from registry.agents\``,
    "libs/agent/channel.ts": `import { Client } from "@grpc/grpc-js";`,
    "libs/rpc/b.ts": `import { trace } from "@opentelemetry/api";\n/** import { x } from "pg"; */\nconst s = /"/; // import "pg";`,
    "test/a.test.ts": `import { Pool } from "pg"; import { a } from "#libs/rpc/b.ts";`,
  });
  assert.deepEqual(importProblems(allowed), []);
});

/** A file that imports types from another, which imports it back. */
const types = (other: string) => ({
  "libs/db/a.ts": `import { type B, type C } from "#${other}";`,
  [other]: `import { a } from "#libs/db/a.ts";`,
});

test("a circle is seen, by types too when it crosses folders", () => {
  const values = {
    "libs/db/a.ts": `import "./b.ts";`,
    "libs/db/b.ts": `export * from "./c.ts";`,
    "libs/db/c.ts": `import { a } from "./a.ts";`,
  };
  assert.deepEqual(importProblems(sources(values)), [
    "a circle of imports: libs/db/a.ts → libs/db/b.ts → libs/db/c.ts → libs/db/a.ts",
  ]);
  assert.deepEqual(importProblems(sources(types("libs/db/b.ts"))), []);
  assert.equal(importProblems(sources(types("libs/rpc/b.ts"))).length, 1);
});
