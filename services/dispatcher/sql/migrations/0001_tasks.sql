-- What never changes (tasks), what is final (outcomes) and what changes (queue, scheduled, leases) are apart: the first two
-- are only ever inserted into and are dropped a day at a time; the others hold no more rows than there are tasks under way.

create sequence task_keys;

-- One partition a day of submission (days since 1970 by Postgres's clock), made and dropped by the Dispatcher.
create table tasks (
  segment int not null,
  task_key bigint not null,
  namespace text not null,
  task_id text not null,
  capability text not null,
  user_name text not null,
  submit_time timestamptz not null,
  -- A legion.dispatcher.v1.TaskSpec as it was accepted.
  spec bytea not null,
  primary key (segment, task_key),
  -- In this order an id is looked for in all segments without naming them: 2 µs for each segment that is kept, where
  -- "segment = any(…)" took 5.
  unique (namespace, task_id, segment)
) partition by list (segment);
alter table tasks alter column spec set storage external;

-- Where tasks go now. An id is looked for in the other segments and fenced by a constraint in its own; that is exact only while
-- all submits go to one, so they share a lock that a change of day takes alone.
create table submission_segment (
  only_row bool primary key default true check (only_row),
  segment int not null
);
insert into submission_segment values (true, 0);

create function open_segment(wanted int) returns int language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(7402002);
  -- With a snapshot taken after the lock: a statement that began before a change of day is refused, having not looked at
  -- the day before as it became.
  if (select segment from submission_segment) <> wanted then
    raise exception 'tasks do not go to segment % any more', wanted using errcode = 'LS001';
  end if;
  return wanted;
end $$;

-- Returns when nothing is under way into the segment before.
create function advance_segment(wanted int) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7402002);
  update submission_segment set segment = wanted where segment < wanted;
end $$;

-- In the segment of its task.
create table outcomes (
  segment int not null,
  task_key bigint not null,
  -- A legion.dispatcher.v1.TaskState: COMPLETED, FAILED, CANCELED or DEAD.
  state smallint not null,
  attempt int not null,
  -- Null when no session ever held the task.
  session_key bigint,
  start_time timestamptz,
  finish_time timestamptz not null,
  -- A legion.common.v1.Outcome.
  outcome bytea not null,
  primary key (segment, task_key)
) partition by list (segment);
alter table outcomes alter column outcome set storage external;
-- 4 is COMPLETED: the others are few and are what people look for.
create index outcomes_not_completed on outcomes (segment, state, task_key) where state <> 4;

-- A capability with the labels that are asked for beside it: tasks of one route can be run by the same sessions.
create table routes (
  route_key int generated always as identity primary key,
  namespace text not null,
  capability text not null,
  -- key=value pairs, sorted, as JSON: [["region","eu"]].
  required_labels text not null
);
-- Sixteen labels can be longer than an index entry may be.
create unique index routes_by_name on routes (namespace, capability, md5(required_labels));

create table instances (
  instance_key int generated always as identity primary key,
  instance_id text not null unique,
  expire_time timestamptz not null
);

create table sessions (
  session_key bigint generated always as identity primary key,
  session_id text not null unique,
  namespace text not null,
  agent_id text not null,
  name text not null,
  version text not null,
  attach_time timestamptz not null default now()
);

create table queue (
  route_key int not null,
  -- The negated priority, so that one index serves "highest first, then oldest".
  rank smallint not null,
  task_key bigint not null,
  segment int not null,
  -- Attempts that were used up.
  attempts int not null,
  -- Which instance's client waits for the outcome, as far as is known.
  submitter int not null,
  -- A legion.common.v1.Failed: why the last attempt failed.
  last_failure bytea,
  primary key (route_key, rank, task_key)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

create table scheduled (
  task_key bigint primary key,
  due_time timestamptz not null,
  route_key int not null,
  rank smallint not null,
  segment int not null,
  attempts int not null,
  submitter int not null,
  last_failure bytea
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
create index scheduled_due on scheduled (due_time);

create table leases (
  task_key bigint primary key,
  segment int not null,
  attempt int not null,
  session_key bigint not null,
  -- The home of the session.
  instance_key int not null,
  route_key int not null,
  rank smallint not null,
  submitter int not null,
  start_time timestamptz not null,
  cancel_reason text
) with (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0
);
create index leases_to_cancel on leases (instance_key) where cancel_reason is not null;

-- Inserted with what they count, in the same transaction, and folded together now and then: a row that every commit updates
-- would be the busiest row of the database.
create table counter_changes (
  submitted int not null default 0,
  dispatched int not null default 0,
  completed int not null default 0,
  failed int not null default 0,
  canceled int not null default 0,
  dead int not null default 0
);
create table counters (
  only_row bool primary key default true check (only_row),
  submitted bigint not null default 0,
  dispatched bigint not null default 0,
  completed bigint not null default 0,
  failed bigint not null default 0,
  canceled bigint not null default 0,
  dead bigint not null default 0,
  total_agents bigint not null default 0
);
insert into counters default values;

-- The input schema that agents declared last for a capability.
create table input_schemas (
  namespace text not null,
  capability text not null,
  input_schema text not null,
  primary key (namespace, capability)
);
