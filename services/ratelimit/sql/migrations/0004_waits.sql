-- How long until at most at_most grains are missing from a token bucket that has spent now, if what is leased is kept until it
-- expires. As core/gcra.ts, timeUntilSpent.
create function token_wait(
  given_limit bigint, given_key text, spent bigint, time_us bigint, leased_grains bigint, token bigint, refill bigint,
  at_most bigint, now_us bigint
) returns bigint language plpgsql as $$
declare
  left_spent bigint := spent;
  from_us bigint := time_us;
  leased_floor bigint := leased_grains;
  l record;
begin
  if leased_floor > at_most then
    for l in
      select e.granted, e.expires_us from leases e
      where e.limit_id = given_limit and e.key = given_key and e.mark_us is null order by e.expires_us
    loop
      exit when leased_floor <= at_most;
      if l.expires_us > from_us then
        -- Less than a refill of all that is spent, so the product fits.
        left_spent := case
          when l.expires_us - from_us > left_spent / refill then leased_floor
          else greatest(leased_floor, left_spent - (l.expires_us - from_us) * refill)
        end;
        from_us := l.expires_us;
      end if;
      leased_floor := leased_floor - l.granted * token;
    end loop;
  end if;
  return (left_spent - at_most + refill - 1) / refill + from_us - now_us;
end $$;

-- How long until too_many less count in a window, if what is leased is kept until it expires and used then. added: what was taken
-- and is not stored yet. As core/window.ts, timeUntilUsed.
create function window_wait(
  given_limit bigint, given_key text, length_us bigint, slot_us bigint, time_us bigint, added bigint, too_many bigint,
  now_us bigint
) returns bigint language sql stable
begin atomic
  select min(e.at) + length_us - now_us
  from (
    select x.at, sum(x.cost) over (order by x.at) as left_by_then
    from (
      select o.at, o.cost
      from buckets b, unnest(b.log_at, b.log_cost) as o (at, cost)
      where b.limit_id = given_limit and b.key = given_key and o.at > time_us - length_us
      union all
      select slot_end(greatest(l.expires_us, time_us), slot_us), l.granted
      from leases l where l.limit_id = given_limit and l.key = given_key and l.mark_us is null
      union all
      select slot_end(time_us, slot_us), added
    ) x
  ) e
  where e.left_by_then >= too_many;
end;


-- What is stored of buckets, in their order; of one without a row all null.
create function peek(limit_ids bigint[], keys text[], given_now_us bigint default null)
returns table (
  revision bigint, now_us bigint, spent bigint, at_us bigint, log_at bigint[], log_cost bigint[], shift_us bigint,
  pause_until_us bigint, lease_ids bigint[], holders text[], granted bigint[], granted_us bigint[], expires_us bigint[]
) language sql stable
begin atomic
  select
    r.value, coalesce(given_now_us, clock_us()), b.spent, b.at_us, coalesce(b.log_at, '{}'), coalesce(b.log_cost, '{}'),
    b.shift_us, b.pause_until_us, coalesce(l.lease_ids, '{}'), coalesce(l.holders, '{}'), coalesce(l.granted, '{}'),
    coalesce(l.granted_us, '{}'), coalesce(l.expires_us, '{}')
  from revision r
  left join unnest(limit_ids, keys) with ordinality as u (limit_id, key, i) on true
  left join lateral (
    select x.* from buckets x where x.limit_id = u.limit_id and x.key = u.key offset 0
  ) b on true
  left join lateral (
    select
      array_agg(x.lease_id order by x.expires_us, x.lease_id) as lease_ids,
      array_agg(x.holder_id order by x.expires_us, x.lease_id) as holders,
      array_agg(x.granted order by x.expires_us, x.lease_id) as granted,
      array_agg(x.granted_us order by x.expires_us, x.lease_id) as granted_us,
      array_agg(x.expires_us order by x.expires_us, x.lease_id) as expires_us
    from leases x where x.limit_id = u.limit_id and x.key = u.key and x.mark_us is null offset 0
  ) l on true
  order by u.i;
end;

-- Whether a bucket says no more than a missing row would.
create function is_fresh(b buckets, token bigint, refill bigint, length_us bigint, now_us bigint) returns boolean
language sql immutable
return b.leased = 0 and b.pause_until_us <= now_us and case
  when length_us = 0 then spent_at(b.spent, b.at_us, 0, refill, now_us) = 0
  else not exists (select from unnest(b.log_at) as o (at) where o.at > greatest(b.at_us, now_us) - length_us)
end;

-- The keys of up to max_keys buckets of a limit that are not fresh.
create function keys_in_use(given_limit bigint, max_keys int) returns setof text language sql stable
begin atomic
  select b.key
  from buckets b, limits m
  where b.limit_id = given_limit and m.limit_id = given_limit
    and not is_fresh(b, m.token_grains, m.refill_grains, m.window_us, clock_us())
  order by b.key limit max_keys;
end;
