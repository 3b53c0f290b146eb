import { create, fromJson, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import {
  type Incident,
  IncidentAction,
  IncidentSchema,
  type Verdict,
  VerdictSchema,
} from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";

const open = prepared(
  "open-incident",
  `insert into incidents (namespace, name, version, capability, agent_id, number, verdict, action, summary, step, rest_ms, traceparent)
   values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, 'open', $10, $11)
   on conflict (namespace, name, version, agent_id, number) where number > 0 do update set
     verdict = excluded.verdict, capability = excluded.capability, summary = excluded.summary, step = 'open',
     start_time = now(), end_time = null, traceparent = excluded.traceparent
   where incidents.step = 'passed'
   returning incident_id`,
);

export interface NewIncident {
  readonly verdict: MessageInitShape<typeof VerdictSchema>;
  readonly number: number;
  /** Of an agent: how long it is to rest. */
  readonly restMs: number;
  readonly traceparent: string;
}

/**
 * Records what is the matter, before anything is done about it.
 * @returns false if that trial's is recorded already, unless that one has passed: then it is opened again.
 */
export async function openIncident(pool: ConnectionPool, incident: NewIncident): Promise<boolean> {
  const { number, restMs, traceparent } = incident;
  const verdict = create(VerdictSchema, incident.verdict);
  const json = JSON.stringify(toJson(VerdictSchema, verdict));
  const { namespace, name, version, capability, agentId, summary } = verdict;
  const who = [namespace, name, version, capability, agentId, number];
  const rows = await pool.run(open, [...who, json, IncidentAction.RECORDED, summary, restMs, traceparent]);
  return rows.length > 0;
}

export type IncidentStep = "open" | "acting" | "done" | "passed";

/** An incident about which something is left to be done. */
export interface OpenIncident {
  readonly incidentId: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  /** Empty: of the version. */
  readonly agentId: string;
  readonly number: number;
  readonly step: IncidentStep;
  readonly restMs: number;
  readonly actTime: Date | undefined;
  readonly startTime: Date;
  readonly traceparent: string;
  readonly verdict: Verdict;
  readonly summary: string;
}

interface OpenRow {
  incident_id: string;
  namespace: string;
  name: string;
  version: string;
  agent_id: string;
  number: number;
  step: IncidentStep;
  rest_ms: bigint;
  act_time: Date | null;
  start_time: Date;
  traceparent: string;
  verdict: JsonValue;
  summary: string;
}

const toDo = prepared<OpenRow>(
  "incidents-to-do",
  `select incident_id, namespace, name, version, agent_id, number, step, rest_ms, act_time, start_time, traceparent, verdict,
          summary
   from incidents where step in ('open', 'acting') order by sequence limit 1000`,
);

/** Oldest first. */
export async function readOpenIncidents(pool: ConnectionPool): Promise<OpenIncident[]> {
  const rows = await pool.run(toDo);
  return rows.map(({ incident_id, agent_id, rest_ms, act_time, start_time, verdict, ...row }) => ({
    ...row,
    incidentId: incident_id,
    agentId: agent_id,
    restMs: Number(rest_ms),
    actTime: act_time ?? undefined,
    startTime: start_time,
    verdict: fromJson(VerdictSchema, verdict, { ignoreUnknownFields: true }),
  }));
}

const move = prepared(
  "move-incident",
  `update incidents set
     step = $2, action = $3, summary = $4,
     act_time = case when $2 = 'acting' then coalesce(act_time, now()) else act_time end,
     end_time = case when $2 in ('done', 'passed') then coalesce(end_time, now()) else end_time end
   where incident_id = $1::text::uuid and step in ('open', 'acting')`,
);

export interface IncidentMove {
  readonly step: IncidentStep;
  readonly action: IncidentAction;
  readonly summary: string;
}

/** Writes down what was done about an incident. */
export async function moveIncident(pool: ConnectionPool, incidentId: string, to: IncidentMove): Promise<void> {
  await pool.run(move, [incidentId, to.step, to.action, to.summary]);
}

const ofAgent = prepared<{ number: number; recent: number }>(
  "incidents-of-agent",
  `select coalesce(max(number), 0)::int4 as number,
          (count(*) filter (where action = $3 and start_time > now() - interval '1 day'))::int4 as recent
   from incidents where namespace = $1 and agent_id = $2`,
);

/** The number of an agent's last incident, and how often it was ejected within a day. */
export async function incidentsOfAgent(
  pool: ConnectionPool,
  namespace: string,
  agentId: string,
): Promise<{ readonly number: number; readonly recent: number }> {
  const [row] = await pool.run(ofAgent, [namespace, agentId, IncidentAction.EJECTED]);
  return row!;
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
