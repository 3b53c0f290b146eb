-- Ends leases and grants new ones, item by item in their order. returns: a lease to end, null for none; unspent tokens of it go
-- back unless it has expired, the others were spent at last_use_age_us before now or earlier. wants: tokens wanted. A limit_id that
-- there is not, or of a concurrency limit, grants nothing.
--
-- What is leased is spent, and is not refilled before it is returned or expired: what a bucket holds and what is leased out of
-- it are together never more than its burst. retry_us: when one more token is there; null when all that was wanted is granted.
-- revision: of the limits and pauses by which all this was decided.
create function lease(
  holder text,
  limit_ids bigint[],
  keys text[],
  returns bigint[],
  unspent bigint[],
  last_use_age_us bigint[],
  wants bigint[],
  lease_us bigint,
  given_now_us bigint default null
) returns table (lease_id bigint, granted bigint, retry_us bigint, revision bigint) language plpgsql as $$
declare
  now_us bigint;
  bucket_limits bigint[];
  bucket_keys text[];
  bucket record;
  ended leases;
  used bigint;
  paused_us bigint;
begin
  perform share_limits();
  select array_agg(t.limit_id order by t.limit_id, t.key), array_agg(t.key order by t.limit_id, t.key)
  into bucket_limits, bucket_keys
  from (
    select distinct u.limit_id, u.key collate "C" as key from unnest(limit_ids, keys) as u (limit_id, key)
    cross join lateral (select from limits m where m.limit_id = u.limit_id and m.kind <> 'concurrency' offset 0) l
  ) t;
  if bucket_limits is null then bucket_limits := '{}'; bucket_keys := '{}'; end if;
  perform lock_buckets(bucket_limits, bucket_keys);
  now_us := coalesce(given_now_us, clock_us());
  -- After the locks: a pause that is not seen here has a later revision.
  select r.value + r.pauses into revision from revision r;
  perform end_expired_leases(bucket_limits, bucket_keys, now_us);

  for i in 1..cardinality(limit_ids) loop
    lease_id := 0;
    granted := 0;
    retry_us := null;
    if returns[i] is not null then
      -- One that has expired is no longer there: it gives nothing back.
      select l.* into ended from leases l
      where l.lease_id = returns[i] and l.holder_id = holder and l.limit_id = limit_ids[i] and l.key = keys[i]
        and l.mark_us is null;
      if found then perform end_lease(ended, unspent[i], now_us - coalesce(last_use_age_us[i], 0), now_us); end if;
    end if;
    if wants[i] = 0 then
      return next;
      continue;
    end if;

    select
      b.leased, b.pause_until_us, l.token_grains, l.refill_grains, l.capacity_grains, l.window_us, l.slot_us,
      greatest(b.at_us, now_us) as time_us,
      case
        when l.window_us = 0 then spent_at(b.spent, b.at_us, b.leased * l.token_grains, l.refill_grains, now_us)
        else b.leased + coalesce((
          select sum(o.cost) from unnest(b.log_at, b.log_cost) as o (at, cost)
          where o.at > greatest(b.at_us, now_us) - l.window_us
        ), 0)::bigint
      end as spent
    into bucket
    from buckets b, limits l
    where b.limit_id = limit_ids[i] and b.key = keys[i] and l.limit_id = limit_ids[i] and l.kind <> 'concurrency';
    if not found then
      return next;
      continue;
    end if;
    paused_us := bucket.pause_until_us - now_us;
    if paused_us <= 0 then
      granted := least(greatest(0, bucket.capacity_grains - bucket.spent) / bucket.token_grains, wants[i]);
    end if;
    if granted > 0 then
      bucket.spent := bucket.spent + granted * bucket.token_grains;
      bucket.leased := bucket.leased + granted;
      insert into leases as l (holder_id, limit_id, key, granted, granted_us, expires_us)
      values (holder, limit_ids[i], keys[i], lease.granted, now_us, now_us + lease_us)
      returning l.lease_id into lease_id;
      update buckets b
      set
        spent = case when bucket.window_us = 0 then bucket.spent else b.spent end,
        at_us = bucket.time_us,
        leased = bucket.leased
      where b.limit_id = limit_ids[i] and b.key = keys[i];
    end if;
    if granted < wants[i] then
      used := bucket.spent - (bucket.capacity_grains - bucket.token_grains);
      if used <= 0 then
        retry_us := 0;
      elsif bucket.window_us > 0 then
        retry_us := window_wait(
          limit_ids[i], keys[i], bucket.window_us, bucket.slot_us, bucket.time_us, 0, used, now_us
        );
      else
        retry_us := token_wait(
          limit_ids[i], keys[i], bucket.spent, bucket.time_us, bucket.leased * bucket.token_grains,
          bucket.token_grains, bucket.refill_grains, bucket.capacity_grains - bucket.token_grains, now_us
        );
      end if;
      retry_us := greatest(retry_us, paused_us);
    end if;
    return next;
  end loop;
end $$;
