-- Amounts inside a bucket are counted in grains, so small that a token and a microsecond's refill are both whole numbers
-- of them: nothing is ever rounded. 100 tokens a minute: a token is 600,000 grains, and 1 grain comes back each microsecond.
create table limits (
  limit_id bigint generated always as identity primary key,
  namespace text collate "C" not null,
  name text collate "C" not null,
  unit text not null,
  token_grains bigint not null check (token_grains > 0),
  refill_grains bigint not null check (refill_grains > 0),
  capacity_grains bigint not null check (capacity_grains >= token_grains),
  -- The legion.ratelimit.v1.Limit as JSON, as it was set.
  definition jsonb not null,
  update_time timestamptz not null default now(),
  unique (namespace, name)
);

-- One row. Every change of a limit raises it, under the exclusive advisory lock.
create table revision (
  only_row boolean primary key default true check (only_row),
  value bigint not null
);
insert into revision (value) values (1);

-- A bucket without a row is full. limit_id stands for namespace and limit: it is 8 bytes where they are up to 191.
--
-- Logged, and committed synchronously. An unlogged table is emptied by a crash of Postgres; with "empty" read as full that
-- admits too much, and read as spent it makes a limit of 1,000 a day refuse everybody for a day.
create table buckets (
  limit_id bigint not null,
  key text collate "C" not null,
  -- Grains missing from the full bucket at at_us. Beyond the capacity after a settlement above its estimate.
  spent bigint not null default 0,
  -- Microseconds since 1970, by Postgres's clock.
  at_us bigint not null default 0,
  -- Tokens leased out and neither returned nor expired. They are part of spent, and are not refilled while they are out.
  leased bigint not null default 0,
  primary key (limit_id, key)
) with (
  -- Updates in place (HOT): no index has a column that changes.
  fillfactor = 60,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_cost_delay = 0
);

-- What was taken under a reservation_id, a row for each bucket. Kept when settled, so that the same id again takes nothing.
create table reservations (
  namespace text collate "C" not null,
  reservation_id text collate "C" not null,
  limit_id bigint not null,
  key text collate "C" not null,
  cost bigint not null,
  settled boolean not null default false,
  reserved_us bigint not null,
  primary key (namespace, reservation_id, limit_id)
) with (fillfactor = 80);
create index reservations_by_age on reservations (reserved_us);

create table leases (
  lease_id bigint generated always as identity primary key,
  holder_id text not null,
  limit_id bigint not null,
  key text collate "C" not null,
  granted bigint not null,
  expires_us bigint not null
);
create index leases_by_bucket on leases (limit_id, key, expires_us);
create index leases_by_expiry on leases (expires_us);
