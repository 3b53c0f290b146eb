import { int8Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

/** A lease with what is needed to go on with it or to resolve it. */
export interface LeaseRow {
  readonly taskKey: number;
  readonly segment: number;
  readonly attempt: number;
  readonly sessionKey: number;
  readonly submitter: number;
  /** Milliseconds since the lease began, by Postgres's clock. */
  readonly ageMs: number;
  readonly cancelReason: string | null;
  readonly spec: Buffer;
}

interface LeaseColumns {
  task_key: number;
  segment: number;
  attempt: number;
  session_key: number;
  submitter: number;
  age_ms: number;
  cancel_reason: string | null;
  spec: Buffer;
}

const columns = `
  l.task_key::float8, l.segment, l.attempt, l.session_key::float8, l.submitter,
  extract(epoch from now() - l.start_time)::float8 * 1000 as age_ms, l.cancel_reason, t.spec`;

const adopt = prepared<LeaseColumns>(
  "adopt_leases",
  `
  with l as (
    update leases set instance_key = $2 where session_key = any($1::int8[]) returning *
  )
  select ${columns} from l join tasks t on t.segment = l.segment and t.task_key = l.task_key`,
);

/** Makes an instance the home of what is leased to sessions, and returns those leases. */
export async function adoptLeases(
  pool: ConnectionPool,
  sessionKeys: readonly number[],
  instanceKey: number,
): Promise<LeaseRow[]> {
  return (await pool.run(adopt, [int8Array(sessionKeys), instanceKey])).map(toLease);
}

const ofSession = prepared<LeaseColumns>(
  "leases_of_session",
  `
  select ${columns}
  from sessions s join leases l using (session_key) join tasks t on t.segment = l.segment and t.task_key = l.task_key
  where s.session_id = $1`,
);

/** What is leased to a session that is attached nowhere. */
export async function leasesOfSession(pool: ConnectionPool, sessionId: string): Promise<LeaseRow[]> {
  return (await pool.run(ofSession, [sessionId])).map(toLease);
}

const keys = prepared<{ task_key: number }>(
  "lease_keys",
  `
  select task_key::float8 from leases where instance_key = $1 and start_time < now() - $2 * interval '1 ms'`,
);

/** The tasks of an instance's leases that are older than `minAgeMs`. */
export async function leaseKeys(pool: ConnectionPool, instanceKey: number, minAgeMs: number): Promise<number[]> {
  return (await pool.run(keys, [instanceKey, minAgeMs])).map((row) => row.task_key);
}

const byKeys = prepared<LeaseColumns>(
  "leases_by_keys",
  `
  select ${columns}
  from leases l join tasks t on t.segment = l.segment and t.task_key = l.task_key
  where l.instance_key = $1 and l.task_key = any($2::int8[])`,
);

/** An instance's leases of these tasks. */
export async function leasesOf(
  pool: ConnectionPool,
  instanceKey: number,
  taskKeys: readonly number[],
): Promise<LeaseRow[]> {
  return (await pool.run(byKeys, [instanceKey, int8Array(taskKeys)])).map(toLease);
}

const abandoned = prepared<LeaseColumns>(
  "abandoned_leases",
  `
  select ${columns}
  from leases l join tasks t on t.segment = l.segment and t.task_key = l.task_key
  where not exists (select from instances i where i.instance_key = l.instance_key and i.expire_time > now())
  limit 1000`,
);

/** Leases whose home has let its own lease run out, and that no other home has adopted. */
export async function abandonedLeases(pool: ConnectionPool): Promise<LeaseRow[]> {
  return (await pool.run(abandoned)).map(toLease);
}

function toLease(row: LeaseColumns): LeaseRow {
  return {
    taskKey: row.task_key,
    segment: row.segment,
    attempt: row.attempt,
    sessionKey: row.session_key,
    submitter: row.submitter,
    ageMs: row.age_ms,
    cancelReason: row.cancel_reason,
    spec: row.spec,
  };
}
