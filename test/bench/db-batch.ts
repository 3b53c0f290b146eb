// How one statement best takes many rows: node test/bench/db-batch.ts
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { byteaArray, int4Array, textArray } from "#libs/db/binary-array.ts";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { prepared, type Statement } from "#libs/db/statement.ts";

interface Row {
  readonly id: string;
  readonly priority: number;
  readonly data: Buffer;
}

const dataDir = await mkdtemp(join(process.env["BENCH_DIR"] ?? tmpdir(), "legion-bench-"));
try {
  await using postgres = await startEmbeddedPostgres({ dataDir });
  await using pool = new ConnectionPool({ connectionString: postgres.connectionString, schema: "public" });
  await using session = await pool.getSession();
  await session.execute("create table item (id text primary key, priority int not null, data bytea not null)");

  const columns = "insert into item (id, priority, data)";
  const unnest = `${columns} select * from unnest($1::text[], $2::int4[], $3::bytea[])`;
  const binary = prepared("binary", unnest);
  const selectList = prepared("list", `${columns} select unnest($1::text[]), unnest($2::int4[]), unnest($3::bytea[])`);
  const text = prepared("text", unnest);
  const values = new Map<number, Statement<never>>();
  const variants: Record<string, (rows: Row[]) => Promise<unknown>> = {
    "unnest, binary arrays": (rows) =>
      session.run(binary, [
        textArray(rows.map((row) => row.id)),
        int4Array(rows.map((row) => row.priority)),
        byteaArray(rows.map((row) => row.data)),
      ]),
    "select-list unnest, binary": (rows) =>
      session.run(selectList, [
        textArray(rows.map((row) => row.id)),
        int4Array(rows.map((row) => row.priority)),
        byteaArray(rows.map((row) => row.data)),
      ]),
    "unnest, text arrays": (rows) =>
      session.run(text, [
        `{${rows.map((row) => `"${row.id}"`).join(",")}}`,
        `{${rows.map((row) => row.priority).join(",")}}`,
        `{${rows.map((row) => `"\\\\x${row.data.toString("hex")}"`).join(",")}}`,
      ]),
    VALUES: (rows) => {
      let statement = values.get(rows.length);
      if (statement === undefined) {
        const tuples = rows.map((_, i) => `($${i * 3 + 1}, $${i * 3 + 2}, $${i * 3 + 3})`);
        statement = prepared(`values-${rows.length}`, `${columns} values ${tuples.join(", ")}`);
        values.set(rows.length, statement);
      }
      return session.run(
        statement,
        rows.flatMap((row) => [row.id, row.priority, row.data]),
      );
    },
  };

  const read = prepared<{ data: Buffer }>("read", "select data from item limit $1::int4");
  const table: Record<string, Record<string, string>> = {};
  let nextId = 0;
  const newRow = (): Row => ({
    id: `task-${nextId++}-0123456789abcdef`,
    priority: nextId % 10,
    data: Buffer.alloc(200, 0xe9),
  });
  for (const insert of Object.values(variants)) {
    for (let i = 0; i < 100; i++) await insert(Array.from({ length: 100 }, newRow));
  }
  for (const count of [1, 10, 100, 500]) {
    for (const [name, insert] of Object.entries(variants)) {
      await session.execute("truncate item");
      await session.execute("checkpoint");
      for (let warmUp = 0; warmUp < 20; warmUp++) await insert(Array.from({ length: count }, newRow));
      const batches = Math.min(1500, Math.ceil(50_000 / count));
      const cpu = process.cpuUsage();
      const start = performance.now();
      for (let i = 0; i < batches; i++) await insert(Array.from({ length: count }, newRow));
      const elapsedMs = performance.now() - start;
      const { user, system } = process.cpuUsage(cpu);
      const rows = batches * count;
      (table[name] ??= {})[`${count} rows`] =
        `${Math.round(rows / (elapsedMs / 1000))}/s, ${((user + system) / rows).toFixed(1)} µs`;
    }
  }
  console.log("Rows of 200 B inserted a second by one connection, and this process's CPU for each:");
  console.table(table);

  const readings: Record<string, string> = {};
  for (const count of [1, 10, 100, 500]) {
    for (let warmUp = 0; warmUp < 50; warmUp++) await session.run(read, [count]);
    const rounds = Math.min(3000, Math.ceil(100_000 / count));
    const cpu = process.cpuUsage();
    for (let i = 0; i < rounds; i++) await session.run(read, [count]);
    const { user, system } = process.cpuUsage(cpu);
    readings[`${count} rows`] = `${((user + system) / rounds / count).toFixed(1)} µs`;
  }
  console.log("Rows of 200 B read, this process's CPU for each:");
  console.table(readings);
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
