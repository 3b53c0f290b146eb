import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { EnvSpec } from "#libs/config/env.ts";
import { env as dispatcher } from "../../services/dispatcher/config.ts";
import { env as ratelimit } from "../../services/ratelimit/config.ts";
import { env as registry } from "../../services/registry/config.ts";
import { env as watchdog } from "../../services/watchdog/config.ts";
import { chart } from "./helm.ts";
import { valueRows } from "./values-table.ts";

const services: Readonly<Record<string, EnvSpec>> = { registry, dispatcher, ratelimit, watchdog };
const values = new Map(
  valueRows(readFileSync(join(chart, "values.yaml"), "utf8")).map(({ path, value }) => [path, value]),
);

interface Schema {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties: Readonly<Record<string, Schema>>;
}
const schema = JSON.parse(readFileSync(join(chart, "values.schema.json"), "utf8")) as Schema;

// The chart itself knows where the database, the ports and the neighbours are.
const madeByChart = /^(DATABASE_URL|GRPC_PORT|HTTP_PORT|LEGION_[A-Z]+)$/;
// The chart has smaller pools, that a Postgres of 100 connections has room for.
const otherwise = new Set(["POOL_SIZE"]);

for (const [service, spec] of Object.entries(services)) {
  test(`every variable that the ${service} reads can be set, begins as the service has it, and no other can`, () => {
    const keys = (path: string): string[] => Object.keys(properties(path));
    const settable = [...keys("config"), ...keys(`${service}.config`)];
    const read = Object.keys(spec).filter((name) => !madeByChart.test(name));
    assert.deepEqual(read.filter((name) => !settable.includes(name)), []);
    assert.deepEqual(keys(`${service}.config`).filter((name) => !read.includes(name)), []);
    for (const name of read) {
      const value = values.get(`${service}.config.${name}`) ?? values.get(`config.${name}`);
      if (!otherwise.has(name)) assert.equal(value === '""' ? undefined : value, spec[name]!.defaultText, name);
    }
    assert.equal(values.get(`${service}.grpcPort`), spec["GRPC_PORT"]!.defaultText);
    assert.equal(values.get(`${service}.httpPort`), spec["HTTP_PORT"]!.defaultText);
  });

  test(`numbers of the ${service} have the same bounds in the schema`, () => {
    for (const [name, { minimum, maximum }] of Object.entries(properties(`${service}.config`))) {
      if (minimum === undefined || maximum === undefined) continue;
      const { parse } = spec[name]!;
      for (const bound of [minimum, maximum]) parse(String(bound));
      for (const beyond of [minimum - 1, maximum + 1]) assert.throws(() => parse(String(beyond)), name);
    }
  });
}

function properties(path: string): Readonly<Record<string, Schema>> {
  return path.split(".").reduce((at, key) => at.properties[key]!, schema).properties;
}
