import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

// 8 KiB each: a table below this is read in no time, whatever the plan.
const smallPages = 16;
const growth = 4;

const outgrown = prepared<{ name: string }>(
  "outgrown_tables",
  `
  select quote_ident(c.relname) as name
  from pg_class c
  where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
    and pg_relation_size(c.oid) / current_setting('block_size')::int > $1 * greatest(c.relpages, $2)`,
);

/**
 * Has Postgres look anew at tables that have grown to more than four times what it knows of them, and returns how many.
 *
 * A generic plan made while a table is empty may well read all of it, and is kept until the table's statistics change, which
 * autovacuum looks after once a minute. This makes every session plan anew within a second or so of the growth.
 */
export async function refreshStatistics(pool: ConnectionPool): Promise<number> {
  const tables = await pool.run(outgrown, [growth, smallPages]);
  // Another replica may be doing the same, or autovacuum: then it is done.
  if (tables.length > 0) {
    await using session = await pool.getSession();
    await session.execute(`analyze (skip_locked) ${tables.map(({ name }) => name).join(", ")}`);
  }
  return tables.length;
}
