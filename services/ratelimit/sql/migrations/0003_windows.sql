create function slot_end(at_us bigint, slot_us bigint) returns bigint language sql immutable
return case when slot_us = 1 then at_us else (at_us + slot_us - 1) / slot_us * slot_us end;

-- A log with one more entry, without those until after_us.
create function log_with(
  log_at bigint[], log_cost bigint[], after_us bigint, new_at bigint, new_cost bigint,
  out at bigint[], out cost bigint[]
) language sql immutable
begin atomic
  select array_agg(e.at order by e.at), array_agg(e.cost order by e.at)
  from (
    select x.at, sum(x.cost)::bigint as cost
    from (
      select o.at, o.cost from unnest(log_at, log_cost) as o (at, cost)
      union all
      select new_at, new_cost
    ) x
    where x.at > after_us and x.cost > 0
    group by x.at
  ) e;
end;

-- A log without up to amount of what is logged at mark_us, and without those until after_us.
create function log_without(
  log_at bigint[], log_cost bigint[], after_us bigint, mark_us bigint, amount bigint,
  out at bigint[], out cost bigint[]
) language sql immutable
begin atomic
  select array_agg(e.at order by e.at), array_agg(e.cost order by e.at)
  from (
    select x.at, case when x.at = mark_us then greatest(0, x.cost - amount) else x.cost end as cost
    from unnest(log_at, log_cost) as x (at, cost)
    where x.at > after_us
  ) e
  where e.cost > 0;
end;

-- Ends a lease of a locked bucket: unspent of it were not used, the others at last_us or before. What was used can be given back for a
-- day, as long as it has not come back by itself.
create function end_lease(ended leases, unspent bigint, last_us bigint, now_us bigint) returns void language plpgsql as $$
declare
  b record;
  used bigint := greatest(0, ended.granted - unspent);
  leased_after bigint;
  spent_after bigint;
  mark bigint;
  useful bigint;
begin
  select x.spent, x.at_us, x.leased, x.shift_us, x.era, m.token_grains, m.refill_grains, m.window_us, m.slot_us
  into b
  from buckets x, limits m
  where x.limit_id = ended.limit_id and x.key = ended.key and m.limit_id = ended.limit_id;
  leased_after := greatest(0, b.leased - ended.granted);
  if b.window_us = 0 then
    spent_after := greatest(
      leased_after * b.token_grains,
      spent_at(b.spent, b.at_us, b.leased * b.token_grains, b.refill_grains, now_us) - (ended.granted - used) * b.token_grains
    );
    useful := greatest(b.at_us, now_us) + (spent_after - leased_after * b.token_grains) / b.refill_grains;
    mark := useful + b.shift_us;
    update buckets x set spent = spent_after, at_us = greatest(x.at_us, now_us), leased = leased_after
    where x.limit_id = ended.limit_id and x.key = ended.key;
  else
    -- Not before it was granted, and not in a time that the clock has yet to catch up with.
    mark := slot_end(
      case when b.at_us > now_us then b.at_us else least(now_us, greatest(ended.granted_us, last_us)) end, b.slot_us
    );
    useful := mark + b.window_us;
    update buckets x
    set
      leased = leased_after,
      at_us = greatest(x.at_us, now_us),
      (log_at, log_cost) =
        (select * from log_with(x.log_at, x.log_cost, greatest(x.at_us, now_us) - b.window_us, mark, used))
    where x.limit_id = ended.limit_id and x.key = ended.key;
  end if;
  if used > 0 and useful > now_us then
    update leases l
    set granted = used, era = b.era, mark_us = mark, mark_shift_us = b.shift_us, useful_us = least(useful, now_us + 86400000000)
    where l.lease_id = ended.lease_id;
  else
    delete from leases l where l.lease_id = ended.lease_id;
  end if;
end $$;

create function end_expired_leases(limit_ids bigint[], keys text[], now_us bigint)
returns bigint language plpgsql as $$
declare
  expired leases;
  ended bigint := 0;
begin
  for expired in
    select l.*
    from unnest(limit_ids, keys) as b (limit_id, key)
    cross join lateral (
      select e.* from leases e
      where e.limit_id = b.limit_id and e.key = b.key and e.expires_us <= now_us and e.mark_us is null offset 0
    ) l
    order by l.expires_us
  loop
    perform end_lease(expired, 0, expired.expires_us, expired.expires_us);
    ended := ended + 1;
  end loop;
  return ended;
end $$;
