-- Amounts inside a bucket are counted in grains, so small that a token and a microsecond's refill are both whole numbers
-- of them: nothing is ever rounded. 100 tokens a minute: a token is 600,000 grains, and 1 grain comes back each microsecond.
-- A token bucket has window_us 0. A sliding window counts in units: a grain is one, and capacity_grains the count. A concurrency
-- limit has no buckets but those that are paused.
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
  kind text not null check (kind in ('token_bucket', 'sliding_window', 'concurrency')),
  window_us bigint not null,
  slot_us bigint not null,
  unique (namespace, name)
);

-- One row. Every change of a limit raises it, under the exclusive advisory lock.
create table revision (
  only_row boolean primary key default true check (only_row),
  value bigint not null,
  -- Raised by every pause that is set or ended. Decisions do not depend on it as they read the pause itself.
  pauses bigint not null default 0
);
insert into revision (value) values (1);

create sequence eras cache 1000;

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
  -- What a window counts, the oldest first: until a window after log_at, log_cost.
  log_at bigint[],
  log_cost bigint[],
  -- By how much, in all, what was given back has brought forward the refill of what was taken before.
  shift_us bigint not null default 0,
  -- Another one when the row is made anew or its rate, burst or window changes: what was taken in an earlier one has come back, or
  -- has no known place in the refill's order or the log any more.
  era bigint not null default nextval('eras'),
  -- 0: it is not paused.
  pause_until_us bigint not null default 0,
  primary key (limit_id, key)
) with (
  -- Updates in place (HOT): no index has a column that changes.
  fillfactor = 60,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_cost_delay = 0
);
create index buckets_by_pause on buckets (pause_until_us) where pause_until_us > 0;

-- What was taken under a reservation_id, a row for each bucket. Kept when settled, so that the same id again takes nothing.
create table reservations (
  namespace text collate "C" not null,
  reservation_id text collate "C" not null,
  limit_id bigint not null,
  key text collate "C" not null,
  cost bigint not null,
  settled boolean not null default false,
  reserved_us bigint not null,
  -- When what was taken has come back by itself: see core/rule.ts, markOf. Of what was spent from a lease its lease knows it.
  era bigint not null default 0,
  mark_us bigint not null default 0,
  mark_shift_us bigint not null default 0,
  primary key (namespace, reservation_id, limit_id)
) with (fillfactor = 80);
create index reservations_by_age on reservations (reserved_us);

-- What was given back to a token bucket: it brought forward the refill of what was taken after it.
create table give_backs (
  limit_id bigint not null,
  key text collate "C" not null,
  -- The bucket's shift_us before.
  shift_us bigint not null,
  -- The mark of what was given back.
  mark_us bigint not null,
  grains bigint not null,
  -- When all that was in the bucket then has come back.
  useful_us bigint not null
);
create index give_backs_by_bucket on give_backs (limit_id, key, shift_us);
create index give_backs_by_use on give_backs (useful_us);

-- An ended lease, which has a mark, stays as long as something of it can be given back: then granted is what was spent of it.
create table leases (
  lease_id bigint generated always as identity primary key,
  holder_id text not null,
  limit_id bigint not null,
  key text collate "C" not null,
  granted bigint not null,
  granted_us bigint not null,
  expires_us bigint not null,
  -- Of its bucket when it ended.
  era bigint not null default 0,
  mark_us bigint,
  mark_shift_us bigint,
  useful_us bigint
);
create index leases_by_bucket on leases (limit_id, key, expires_us) where mark_us is null;
create index leases_by_expiry on leases (expires_us) where mark_us is null;
create index leases_by_use on leases (useful_us) where mark_us is not null;
