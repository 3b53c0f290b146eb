import { fromJson, type JsonValue, type MessageInitShape, create, toJson } from "@bufbuild/protobuf";
import { int4Array, int8Array, jsonbArray, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { VerdictSchema } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { TrialState } from "../core/trial.ts";

export interface TrialKey {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  /** Which of the version's trials. */
  readonly number: number;
  readonly capability: string;
}

export interface TrialRow extends TrialKey {
  readonly state: TrialState;
}

const beginning = prepared<{ epoch: bigint; position: bigint }>(
  "begin-judging",
  "update judge set epoch = epoch + 1 returning epoch, position",
);

const all = prepared<TrialRow>(
  "read-trials",
  "select namespace, name, version, number, capability, state from trials order by touch_time",
);

export interface Judging {
  /** Whoever begins later has a higher one. */
  readonly epoch: bigint;
  /** The last sample that was judged. */
  readonly position: bigint;
  readonly trials: readonly TrialRow[];
}

/** From now on nobody who began before writes. */
export async function beginJudging(pool: ConnectionPool): Promise<Judging> {
  const [row] = await pool.run(beginning);
  return { ...row!, trials: await pool.run(all) };
}

export interface JudgedTrial extends TrialKey {
  readonly verdict: MessageInitShape<typeof VerdictSchema>;
  readonly executions: number;
  readonly passed: number;
}

export interface SavedTrial extends JudgedTrial {
  readonly state: TrialState;
}

const save = prepared<{ position: bigint }>(
  "save-trials",
  `with mine as (update judge set position = $2 where epoch = $1 returning position),
   saved as (
     insert into trials (namespace, name, version, number, capability, state, verdict, executions, passed)
     select t.* from mine, unnest(
       $3::text[], $4::text[], $5::text[], $6::int4[], $7::text[], $8::jsonb[], $9::jsonb[], $10::int8[], $11::int8[]
     ) as t
     on conflict (namespace, name, version, number, capability) do update set
       state = excluded.state, verdict = excluded.verdict, executions = excluded.executions, passed = excluded.passed,
       touch_time = now()
   )
   select position from mine`,
);

/** Together with how far they have come. @returns false when somebody else judges by now; nothing is written then. */
export async function saveTrials(
  pool: ConnectionPool,
  epoch: bigint,
  position: bigint,
  trials: readonly SavedTrial[],
): Promise<boolean> {
  const texts = (pick: (trial: SavedTrial) => string) => textArray(trials.map(pick));
  const rows = await pool.run(save, [
    epoch,
    position,
    texts(({ namespace }) => namespace),
    texts(({ name }) => name),
    texts(({ version }) => version),
    int4Array(trials.map(({ number }) => number)),
    texts(({ capability }) => capability),
    jsonbArray(trials.map(({ state }) => JSON.stringify(state))),
    jsonbArray(trials.map(({ verdict }) => JSON.stringify(toJson(VerdictSchema, create(VerdictSchema, verdict))))),
    int8Array(trials.map(({ executions }) => executions)),
    int8Array(trials.map(({ passed }) => passed)),
  ]);
  return rows.length > 0;
}

type JudgedRow = TrialKey & { verdict: JsonValue; executions: bigint; passed: bigint };

const judged = prepared<JudgedRow>(
  "judged-trials",
  `select distinct on (name, version, capability)
     namespace, name, version, number, capability, verdict, executions, passed
   from trials where namespace = $1 and ($2 = '' or name = $2)
   order by name, version, capability, number desc
   limit $3`,
);

/** The last trial of each version and capability; an empty name stands for all. */
export async function readJudged(
  pool: ConnectionPool,
  namespace: string,
  name: string,
  limit: number,
): Promise<JudgedTrial[]> {
  const rows = await pool.run(judged, [namespace, name, limit]);
  return rows.map(({ verdict, executions, passed, ...key }) => ({
    ...key,
    verdict: fromJson(VerdictSchema, verdict, { ignoreUnknownFields: true }),
    executions: Number(executions),
    passed: Number(passed),
  }));
}

const forget = prepared("forget-trials", "delete from trials where touch_time < now() - make_interval(secs => $1)");

export async function forgetTrials(pool: ConnectionPool, ageMs: number): Promise<void> {
  await pool.run(forget, [ageMs / 1_000]);
}
