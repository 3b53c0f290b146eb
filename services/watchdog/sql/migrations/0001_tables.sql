-- Who executed what. A sample names its subject by 4 bytes instead of up to 575.
create table subjects (
  subject_id int generated always as identity primary key,
  namespace text collate "C" not null,
  agent_id text collate "C" not null,
  name text collate "C" not null,
  version text collate "C" not null,
  capability text collate "C" not null,
  -- When a sample of it was last reported, to the hour.
  seen_time timestamptz not null default now(),
  unique (namespace, agent_id, name, version, capability)
);
create index subjects_by_age on subjects (seen_time);

-- Of each subject at least the last 1,000, so of each agent and of each version too. No foreign key: it would be
-- checked for each sample, and a subject outlives its last sample by the retention.
create table samples (
  sample_id bigint generated always as identity primary key,
  subject_id int not null,
  duration_us bigint not null,
  failed boolean not null,
  memory_before_bytes bigint,
  memory_after_bytes bigint,
  heap_after_collection_bytes bigint,
  end_time timestamptz
) with (autovacuum_vacuum_scale_factor = 0.05);
create index samples_by_subject on samples (subject_id, sample_id);

-- Names of batches that were counted.
create table batches (
  batch_id text collate "C" primary key,
  received_time timestamptz not null default now()
);
create index batches_by_age on batches (received_time);

create table incidents (
  sequence bigint generated always as identity primary key,
  incident_id uuid not null unique default gen_random_uuid(),
  namespace text collate "C" not null,
  name text collate "C" not null,
  version text collate "C" not null,
  capability text collate "C" not null,
  -- The legion.watchdog.v1.Verdict that began it, as JSON.
  verdict jsonb not null,
  action int not null,
  summary text not null,
  start_time timestamptz not null default now(),
  end_time timestamptz
);
-- One at a time for a version and capability, however many replicas judge it.
create unique index incidents_open on incidents (namespace, name, version, capability) where end_time is null;
create index incidents_newest on incidents (namespace, sequence desc);
