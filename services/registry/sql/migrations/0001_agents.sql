-- One row for each running Registry. It renews its row with one statement for all its sessions; when the row has expired
-- the sessions are nobody's.
create table instances (
  registry_id uuid primary key,
  expire_time timestamptz not null
);

-- Every agent ever seen, as of its last hello.
create table agents (
  namespace text collate "C" not null,
  agent_id text collate "C" not null,
  name text not null,
  version text not null,
  capabilities jsonb not null,
  labels jsonb not null,
  slots integer not null,
  sdk text not null,
  session_id uuid not null,
  connect_time timestamptz not null,
  disconnect_time timestamptz,
  disconnect_reason text not null default '',
  primary key (namespace, agent_id)
);

-- The session each agent has now: whoever holds this row holds the agent. `epoch` rises whenever the row changes hands, so
-- that a holder of before writes nothing any more.
create table sessions (
  namespace text collate "C" not null,
  agent_id text collate "C" not null,
  session_id uuid not null,
  registry_id uuid not null,
  epoch bigint not null,
  suspended boolean not null default false,
  draining boolean not null default false,
  drain_reason text not null default '',
  -- An operator asked for it, and the holder has not seen that yet.
  drain_pending boolean not null default false,
  -- What the row said before the last hello.
  previous_session_id uuid,
  -- The session that the agent wanted to go on with when this one was opened for it.
  asked_session_id uuid,
  previous_registry_id uuid,
  primary key (namespace, agent_id)
) with (fillfactor = 70);

create index sessions_of_registry on sessions (registry_id);
create index sessions_to_drain on sessions (registry_id) where drain_pending;

-- Sessions that were taken from their holder: `fenced` by a newer session of the agent, `expired` with the holder itself,
-- or `moved` to another Registry with the agent. The holder reads here that it lost them. The Dispatchers must learn that
-- the first two kinds are over: from the holder, who knows what the agent had received, or soon after from anybody.
create table takeovers (
  session_id uuid not null,
  epoch bigint not null,
  registry_id uuid not null,
  kind text not null check (kind in ('fenced', 'expired', 'moved')),
  take_time timestamptz not null default now(),
  -- A Dispatcher knows that the session is over.
  told boolean not null default false,
  primary key (session_id, epoch)
);

-- The share of the assignments that each version of a name gets.
create table versions (
  namespace text collate "C" not null,
  name text collate "C" not null,
  version text collate "C" not null,
  weight integer not null default 100,
  -- Rises with every change of any weight; 0: never changed. Whoever has seen one has seen all smaller ones.
  weight_epoch bigint not null default 0,
  first_seen_time timestamptz not null default now(),
  primary key (namespace, name, version)
);

create index versions_changed on versions (weight_epoch) where weight_epoch > 0;

-- Its row's lock makes changes of weights become visible in the order of their numbers.
create table weight_epoch (
  one boolean primary key default true check (one),
  value bigint not null default 0
);

insert into weight_epoch default values;
