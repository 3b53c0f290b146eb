-- Where each version stands. `new`: an agent of it says its first hello, and nobody has decided yet.
alter table versions
  add column stage text not null default 'new'
    check (stage in ('new', 'canary', 'current', 'standby', 'fixed', 'barred')),
  add column reason text not null default '',
  add column incident_id text not null default '',
  -- Rises with each decision about the version.
  add column revision bigint not null default 0,
  add column stage_time timestamptz not null default now(),
  add column by_hand boolean not null default false,
  -- How often it was put to the test.
  add column trial integer not null default 1,
  -- When it became the current one, the last time; null: it never was.
  add column promote_time timestamptz;

-- Of the versions that were here before, the newest that gets work is the current one of its name.
update versions v set
  stage = case when v.version = newest.version then 'current' else 'standby' end,
  promote_time = v.first_seen_time,
  revision = 1
from (
  select distinct on (namespace, name) namespace, name, version from versions
  order by namespace, name, weight > 0 desc, first_seen_time desc, version desc
) newest
where newest.namespace = v.namespace and newest.name = v.name;

-- Names without a row have the default policy.
create table policies (
  namespace text collate "C" not null,
  name text collate "C" not null,
  kind text not null check (kind in ('canary', 'immediate', 'manual')),
  stages int[] not null,
  -- 0: the Watchdog's own number.
  stage_executions integer not null,
  primary key (namespace, name)
);

-- Agents that were told to rest, at any time. `epoch` is of the same counter as `versions.weight_epoch`.
create table ejections (
  namespace text collate "C" not null,
  agent_id text collate "C" not null,
  rest_until timestamptz not null,
  reason text not null,
  incident_id text not null,
  epoch bigint not null,
  primary key (namespace, agent_id)
);

create index ejections_by_epoch on ejections (epoch);

-- Since when a session drains on request.
alter table sessions add column drain_time timestamptz;

create index agents_of_version on agents (namespace, name, version);
