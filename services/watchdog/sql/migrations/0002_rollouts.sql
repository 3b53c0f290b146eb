-- Up to which sample everything is judged, and by whom: whoever begins to judge raises `epoch`, and the one before writes no
-- more. `trials` and `position` are written together.
create table judge (
  one boolean primary key default true check (one),
  epoch bigint not null default 0,
  position bigint not null default 0
);

insert into judge default values;

-- The trial of a version for one capability. `number` counts the trials of the version.
create table trials (
  namespace text collate "C" not null,
  name text collate "C" not null,
  version text collate "C" not null,
  number int not null,
  capability text collate "C" not null,
  -- The core's TrialState.
  state jsonb not null,
  -- The legion.watchdog.v1.Verdict of now, as JSON.
  verdict jsonb not null,
  executions bigint not null,
  passed bigint not null,
  touch_time timestamptz not null default now(),
  primary key (namespace, name, version, number, capability)
);
create index trials_by_age on trials (touch_time);

alter table incidents
  -- Empty: of the version.
  add column agent_id text collate "C" not null default '',
  -- The version's trial, or the agent's; 0: from before there were any.
  add column number int not null default 0,
  -- What is left to be done: `open` all, `acting` to wait until it has taken effect. `passed`: nothing could be done, and then it did
  -- well; if the trial finds something again, it is opened again.
  add column step text not null default 'done' check (step in ('open', 'acting', 'done', 'passed')),
  -- For how long the agent rests, milliseconds.
  add column rest_ms bigint not null default 0,
  add column act_time timestamptz,
  add column traceparent text not null default '';

update incidents set end_time = now() where end_time is null;
drop index incidents_open;
-- Once for each trial, however often it is judged again after a restart.
create unique index incidents_once on incidents (namespace, name, version, agent_id, number) where number > 0;
create index incidents_to_do on incidents (sequence) where step in ('open', 'acting');
create index incidents_of_agent on incidents (namespace, agent_id, sequence) where agent_id <> '';
