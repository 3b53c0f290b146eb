-- Looks at up to max_rows buckets after the given one and deletes those that are as a missing row is: full, or with nothing to count,
-- and not paused. Returns the last one looked at, null at the end of the table.
create function clean_buckets(
  inout after_limit bigint,
  inout after_key text,
  max_rows int,
  out deleted bigint
) language plpgsql as $$
declare
  now_us bigint;
  last_limit bigint;
  last_key text;
  fresh_ones tid[];
begin
  perform share_limits();
  now_us := clock_us();
  select b.limit_id, b.key into last_limit, last_key from buckets b
  where (b.limit_id, b.key) > (after_limit, after_key collate "C")
  order by b.limit_id, b.key offset max_rows - 1 limit 1;
  -- One that somebody is deciding on is not idle, and is passed over.
  select array_agg(t.row) into fresh_ones
  from (
    select b.ctid as row
    from buckets b
    left join lateral (
      select m.token_grains, m.refill_grains, m.window_us from limits m where m.limit_id = b.limit_id offset 0
    ) l on true
    where (b.limit_id, b.key) > (after_limit, after_key collate "C")
      and (last_limit is null or (b.limit_id, b.key) <= (last_limit, last_key collate "C"))
      and (l.refill_grains is null or is_fresh(b, l.token_grains, l.refill_grains, l.window_us, now_us))
    for update of b skip locked
  ) t;
  delete from buckets b where b.ctid = any (fresh_ones);
  get diagnostics deleted = row_count;
  after_limit := last_limit;
  after_key := last_key;
end $$;

-- Ends up to max_rows leases that have expired, deletes up to as many of which nothing can be given back any more, and returns how
-- many of the more frequent kind.
create function clean_leases(max_rows int) returns bigint language plpgsql as $$
declare
  now_us bigint := clock_us();
  bucket_limits bigint[];
  bucket_keys text[];
  useless tid[];
  ended bigint := 0;
  deleted bigint;
begin
  perform share_limits();
  select array_agg(t.limit_id order by t.limit_id, t.key), array_agg(t.key order by t.limit_id, t.key)
  into bucket_limits, bucket_keys
  from (
    select distinct e.limit_id, e.key
    from (
      select l.limit_id, l.key from leases l
      where l.expires_us <= now_us and l.mark_us is null order by l.expires_us limit max_rows
    ) e
    cross join lateral (select from limits m where m.limit_id = e.limit_id offset 0) l
  ) t;
  if bucket_limits is not null then
    perform lock_buckets(bucket_limits, bucket_keys);
    ended := end_expired_leases(bucket_limits, bucket_keys, now_us);
  end if;
  -- Last, without waiting: nothing is waited for while these are locked.
  select array_agg(t.row) into useless
  from (
    select l.ctid as row from leases l where l.useful_us < now_us and l.mark_us is not null
    order by l.useful_us limit max_rows for update skip locked
  ) t;
  delete from leases l where l.ctid = any (useless);
  get diagnostics deleted = row_count;
  delete from give_backs g where g.ctid = any (array(
    select x.ctid from give_backs x where x.useful_us < now_us order by x.useful_us limit max_rows for update skip locked
  ));
  return greatest(ended, deleted);
end $$;

-- Deletes up to max_rows reservations made more than age_us ago and returns how many.
create function clean_reservations(age_us bigint, max_rows int) returns bigint language plpgsql as $$
declare
  old tid[];
  deleted bigint;
begin
  select array_agg(t.row) into old
  from (
    select r.ctid as row from reservations r where r.reserved_us < clock_us() - age_us
    order by r.reserved_us limit max_rows for update skip locked
  ) t;
  delete from reservations r where r.ctid = any (old);
  get diagnostics deleted = row_count;
  return deleted;
end $$;
