-- Ends leases and grants new ones, item by item in their order. returns: a lease to end, null for none; unspent tokens of it
-- go back unless it has expired. wants: tokens wanted. limit_id null: there is no such limit, nothing is granted.
--
-- What is leased is spent, and is not refilled before it is returned or expired: what a bucket holds and what is leased out of
-- it are together never more than its burst. retry_us: when one more token is there; null when all that was wanted is granted.
create function lease(
  holder text,
  limit_ids bigint[],
  keys text[],
  returns bigint[],
  unspent bigint[],
  wants bigint[],
  lease_us bigint,
  given_now_us bigint default null
) returns table (lease_id bigint, granted bigint, retry_us bigint) language plpgsql as $$
declare
  now_us bigint;
  bucket_limits bigint[];
  bucket_keys text[];
  bucket record;
  free bigint;
  ended bigint;
  next_expiry bigint;
begin
  perform share_limits();
  select array_agg(t.limit_id order by t.limit_id, t.key), array_agg(t.key order by t.limit_id, t.key)
  into bucket_limits, bucket_keys
  from (
    select distinct u.limit_id, u.key collate "C" as key from unnest(limit_ids, keys) as u (limit_id, key)
    cross join lateral (select from limits m where m.limit_id = u.limit_id offset 0) l
  ) t;
  if bucket_limits is null then bucket_limits := '{}'; bucket_keys := '{}'; end if;
  perform lock_buckets(bucket_limits, bucket_keys);
  now_us := coalesce(given_now_us, clock_us());
  perform end_expired_leases(bucket_limits, bucket_keys, now_us);

  for i in 1..cardinality(limit_ids) loop
    lease_id := 0;
    granted := 0;
    retry_us := null;
    ended := null;
    -- A lease that has expired is no longer there: it gives nothing back.
    delete from leases l
    where l.lease_id = returns[i] and l.holder_id = holder and l.limit_id = limit_ids[i] and l.key = keys[i]
    returning l.granted into ended;

    select b.spent, b.at_us, b.leased, l.token_grains, l.refill_grains, l.capacity_grains
    into bucket
    from buckets b, limits l
    where b.limit_id = limit_ids[i] and b.key = keys[i] and l.limit_id = limit_ids[i];
    if not found then
      return next;
      continue;
    end if;
    bucket.spent := spent_at(
      bucket.spent, bucket.at_us, bucket.leased * bucket.token_grains, bucket.refill_grains, now_us
    );
    if ended is not null then
      bucket.leased := greatest(0, bucket.leased - ended);
      bucket.spent := greatest(
        bucket.leased * bucket.token_grains, bucket.spent - least(ended, unspent[i]) * bucket.token_grains
      );
    end if;
    if wants[i] > 0 then
      free := greatest(0, bucket.capacity_grains - bucket.spent) / bucket.token_grains;
      granted := least(free, wants[i]);
      bucket.spent := bucket.spent + granted * bucket.token_grains;
      bucket.leased := bucket.leased + granted;
      if granted > 0 then
        insert into leases as l (holder_id, limit_id, key, granted, expires_us)
        values (holder, limit_ids[i], keys[i], lease.granted, now_us + lease_us)
        returning l.lease_id into lease_id;
      end if;
      if granted < wants[i] then
        retry_us := (bucket.spent - (bucket.capacity_grains - bucket.token_grains) + bucket.refill_grains - 1)
          / bucket.refill_grains + greatest(0, bucket.at_us - now_us);
        -- All of it is leased out: time alone refills nothing.
        if (bucket.leased + 1) * bucket.token_grains > bucket.capacity_grains then
          select min(l.expires_us) into next_expiry from leases l where l.limit_id = limit_ids[i] and l.key = keys[i];
          retry_us := retry_us + greatest(0, next_expiry - now_us);
        end if;
      end if;
    end if;
    update buckets b
    set spent = bucket.spent, at_us = greatest(bucket.at_us, now_us), leased = bucket.leased
    where b.limit_id = limit_ids[i] and b.key = keys[i];
    return next;
  end loop;
end $$;

create function peek(
  limit_ids bigint[],
  keys text[],
  given_now_us bigint default null
) returns table (revision bigint, now_us bigint, spent text, at_us text, leased text, lease_end_us text) language sql stable
begin atomic
  select
    (select value from revision),
    coalesce(given_now_us, clock_us()),
    string_agg(coalesce(b.spent, 0)::text, ',' order by u.i),
    string_agg(coalesce(b.at_us, 0)::text, ',' order by u.i),
    string_agg(coalesce(b.leased, 0)::text, ',' order by u.i),
    string_agg(coalesce((
      select max(l.expires_us) from leases l where l.limit_id = u.limit_id and l.key = u.key
    ), 0)::text, ',' order by u.i)
  from unnest(limit_ids, keys) with ordinality as u (limit_id, key, i)
  left join lateral (
    select x.spent, x.at_us, x.leased from buckets x where x.limit_id = u.limit_id and x.key = u.key offset 0
  ) b on true;
end;
