-- Replaces what reservations hold by what things really cost, once; returns how many were not settled before. Settlement s has
-- the real costs first_costs[s] to first_costs[s + 1] - 1; a unit without one keeps its estimate. With release it cost nothing.
-- Giving back fills a bucket at most to its capacity; what was charged too little may leave it overdrawn.
create function settle(
  namespaces text[],
  reservation_ids text[],
  releases boolean[],
  first_costs int[],
  units text[],
  amounts bigint[],
  given_now_us bigint default null
) returns int language plpgsql as $$
declare
  now_us bigint;
  bucket_limits bigint[];
  bucket_keys text[];
  reserved record;
  real bigint;
  found_any boolean;
  settled_count int := 0;
begin
  perform share_limits();
  select
    coalesce(array_agg(t.limit_id order by t.limit_id, t.key), '{}'),
    coalesce(array_agg(t.key order by t.limit_id, t.key), '{}')
  into bucket_limits, bucket_keys
  from (
    select distinct r.limit_id, r.key
    from unnest(namespaces, reservation_ids) as u (namespace, reservation_id)
    cross join lateral (
      select x.limit_id, x.key from reservations x
      where x.namespace = u.namespace and x.reservation_id = u.reservation_id and not x.settled offset 0
    ) r
    cross join lateral (select from limits m where m.limit_id = r.limit_id offset 0) l
  ) t;
  -- Buckets before reservations, as acquire does.
  perform lock_buckets(bucket_limits, bucket_keys);
  now_us := coalesce(given_now_us, clock_us());
  perform end_expired_leases(bucket_limits, bucket_keys, now_us);

  for s in 1..cardinality(namespaces) loop
    found_any := false;
    for reserved in
      update reservations r set settled = true
      where r.namespace = namespaces[s] and r.reservation_id = reservation_ids[s] and not r.settled
      returning r.limit_id, r.key, r.cost
    loop
      found_any := true;
      real := reserved.cost;
      if releases[s] then
        real := 0;
      else
        for c in first_costs[s]..first_costs[s + 1] - 1 loop
          if exists (select from limits l where l.limit_id = reserved.limit_id and l.unit = units[c]) then
            real := amounts[c];
          end if;
        end loop;
      end if;
      continue when real = reserved.cost;
      update buckets b
      set
        spent = saturated(greatest(
          b.leased * l.token_grains,
          spent_at(b.spent, b.at_us, b.leased * l.token_grains, l.refill_grains, now_us)
            + (real - reserved.cost)::numeric * l.token_grains
        )),
        at_us = greatest(b.at_us, now_us)
      from limits l
      where b.limit_id = reserved.limit_id and b.key = reserved.key and l.limit_id = reserved.limit_id;
    end loop;
    if found_any then settled_count := settled_count + 1; end if;
  end loop;
  return settled_count;
end $$;
