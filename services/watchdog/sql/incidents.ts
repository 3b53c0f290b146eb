import { create, fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import {
  type Incident,
  IncidentAction,
  IncidentSchema,
  VerdictSchema,
} from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { PlainVerdict } from "../core/verdicts.ts";

export type DatedVerdict = PlainVerdict & { readonly verdictTime: Timestamp };

/** An incident is of a version and a capability. */
export type Judged = Pick<PlainVerdict, "namespace" | "name" | "version" | "capability">;

const open = prepared(
  "open-incident",
  `insert into incidents (namespace, name, version, capability, verdict, action, summary)
   values ($1, $2, $3, $4, $5::jsonb, $6, $7)
   on conflict (namespace, name, version, capability) where end_time is null do nothing`,
);

/** Records what began with a verdict; nothing if an incident of that version and capability is open. */
export async function openIncident(pool: ConnectionPool, verdict: DatedVerdict): Promise<void> {
  const json = JSON.stringify(toJson(VerdictSchema, create(VerdictSchema, verdict)));
  const { namespace, name, version, capability, summary } = verdict;
  const recorded = `${summary} Recorded; nothing was done.`;
  await pool.run(open, [namespace, name, version, capability, json, IncidentAction.RECORDED, recorded]);
}

const close = prepared(
  "close-incident",
  `update incidents set end_time = now()
   where namespace = $1 and name = $2 and version = $3 and capability = $4 and end_time is null`,
);

export async function closeIncident(
  pool: ConnectionPool,
  { namespace, name, version, capability }: Judged,
): Promise<void> {
  await pool.run(close, [namespace, name, version, capability]);
}

const openOnes = prepared<Judged>(
  "open-incidents",
  "select namespace, name, version, capability from incidents where end_time is null",
);

/** Which versions and capabilities have an open incident. */
export async function readOpenIncidents(pool: ConnectionPool): Promise<Judged[]> {
  return await pool.run(openOnes);
}

interface Row {
  sequence: bigint;
  incident_id: string;
  verdict: JsonValue;
  action: IncidentAction;
  summary: string;
  start_time: Date;
  end_time: Date | null;
}

const list = prepared<Row>(
  "list-incidents",
  `select sequence, incident_id, verdict, action, summary, start_time, end_time from incidents
   where namespace = $1 and ($2 = '' or name = $2) and sequence < $3
   order by sequence desc limit $4`,
);

export interface IncidentPage {
  readonly namespace: string;
  /** Empty: all. */
  readonly name: string;
  /** Only those recorded before this one. */
  readonly before: bigint;
  readonly limit: number;
}

export async function listIncidents(
  pool: ConnectionPool,
  { namespace, name, before, limit }: IncidentPage,
): Promise<{ sequence: bigint; incident: Incident }[]> {
  const rows = await pool.run(list, [namespace, name, before, limit]);
  return rows.map((row) => ({
    sequence: row.sequence,
    incident: create(IncidentSchema, {
      incidentId: row.incident_id,
      verdict: fromJson(VerdictSchema, row.verdict, { ignoreUnknownFields: true }),
      action: row.action,
      summary: row.summary,
      startTime: timestampFromDate(row.start_time),
      ...(row.end_time !== null && { endTime: timestampFromDate(row.end_time) }),
    }),
  }));
}
