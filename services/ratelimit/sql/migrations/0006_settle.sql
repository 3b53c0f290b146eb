-- Charges difference tokens more in a locked bucket; or gives back as many of them as have not come back by themselves since they were
-- taken, in taken_era, with that mark. As core/rule.ts, settle.
create function settle_bucket(
  given_limit bigint, given_key text, difference bigint, taken_era bigint, mark bigint, mark_shift bigint, now_us bigint
) returns void language plpgsql as $$
declare
  b record;
  spent_now bigint;
  behind numeric;
  back bigint := 0;
begin
  select x.*, m.token_grains, m.refill_grains, m.window_us, m.slot_us, greatest(x.at_us, now_us) as time_us
  into b
  from buckets x, limits m
  where x.limit_id = given_limit and x.key = given_key and m.limit_id = given_limit;
  if not found then return; end if;
  if b.window_us > 0 then
    if difference > 0 then
      update buckets x
      set at_us = b.time_us, (log_at, log_cost) = (
        select * from log_with(b.log_at, b.log_cost, b.time_us - b.window_us, slot_end(b.time_us, b.slot_us), difference)
      )
      where x.limit_id = given_limit and x.key = given_key;
    elsif taken_era = b.era then
      update buckets x
      set at_us = b.time_us, (log_at, log_cost) = (
        select * from log_without(b.log_at, b.log_cost, b.time_us - b.window_us, mark, -difference)
      )
      where x.limit_id = given_limit and x.key = given_key;
    end if;
    return;
  end if;
  spent_now := spent_at(b.spent, b.at_us, b.leased * b.token_grains, b.refill_grains, now_us);
  if difference > 0 then
    spent_now := saturated(spent_now + difference::numeric * b.token_grains);
  else
    if taken_era <> b.era or mark - mark_shift <= b.time_us then return; end if;
    behind := (mark - mark_shift - b.time_us)::numeric * b.refill_grains;
    -- Unless all that was given back since can have been taken before it without a difference.
    if behind - (b.shift_us - mark_shift)::numeric * b.refill_grains < -difference::numeric * b.token_grains then
      behind := behind - coalesce((
        select sum(g.grains) from give_backs g
        where g.limit_id = given_limit and g.key = given_key and g.shift_us >= mark_shift and g.mark_us <= mark
      ), 0);
    end if;
    back := greatest(0, least(
      behind, -difference::numeric * b.token_grains, spent_now - b.leased * b.token_grains
    ));
    if back = 0 then return; end if;
    delete from give_backs g where g.limit_id = given_limit and g.key = given_key and g.useful_us < now_us;
    insert into give_backs (limit_id, key, shift_us, mark_us, grains, useful_us)
    values (
      given_limit, given_key, b.shift_us, mark, back,
      b.time_us + (spent_now - b.leased * b.token_grains) / b.refill_grains
    );
    spent_now := spent_now - back;
  end if;
  update buckets x
  set
    spent = spent_now, at_us = b.time_us,
    shift_us = b.shift_us + (back + b.refill_grains - 1) / b.refill_grains
  where x.limit_id = given_limit and x.key = given_key;
end $$;

-- Gives back tokens that were spent from a lease and cost nothing, at most those that were spent from it. While it is out it shrinks.
create function give_back_leased(
  given_lease bigint, given_limit bigint, given_key text, amount bigint, now_us bigint
) returns void language plpgsql as $$
declare
  l leases;
  less bigint;
begin
  select e.* into l from leases e
  where e.lease_id = given_lease and e.limit_id = given_limit and e.key = given_key;
  if not found then return; end if;
  less := least(amount, l.granted);
  update leases e set granted = e.granted - less where e.lease_id = given_lease;
  if l.mark_us is not null then
    perform settle_bucket(given_limit, given_key, -less, l.era, l.mark_us, l.mark_shift_us, now_us);
    return;
  end if;
  update buckets b
  set
    leased = greatest(0, b.leased - less),
    spent = case when m.window_us > 0 then b.spent else greatest(
      greatest(0, b.leased - less) * m.token_grains,
      spent_at(b.spent, b.at_us, b.leased * m.token_grains, m.refill_grains, now_us) - less * m.token_grains
    ) end,
    at_us = case when m.window_us > 0 then b.at_us else greatest(b.at_us, now_us) end
  from limits m
  where b.limit_id = given_limit and b.key = given_key and m.limit_id = given_limit;
end $$;

-- Replaces what reservations hold by what things really cost, once; returns how many settlements changed something. Settlement s has
-- the real costs first_costs[s] to first_costs[s + 1] - 1; a unit without one keeps its estimate. With release it cost nothing.
-- Adjustment j belongs to settlement adjust_settlements[j]; it counts if nothing is recorded under its id for its limit, and then it is.
create function settle(
  namespaces text[],
  reservation_ids text[],
  releases boolean[],
  first_costs int[],
  units text[],
  amounts bigint[],
  adjust_settlements int[],
  adjust_limits text[],
  adjust_keys text[],
  adjust_reserved bigint[],
  adjust_actual bigint[],
  adjust_leases bigint[],
  given_now_us bigint default null
) returns int language plpgsql as $$
declare
  now_us bigint;
  adjust_ids bigint[];
  bucket_limits bigint[];
  bucket_keys text[];
  reserved record;
  real bigint;
  s int;
  is_new boolean;
  changed boolean[] := array_fill(false, array[cardinality(namespaces)]);
begin
  perform share_limits();
  select coalesce(array_agg(l.limit_id order by u.i), '{}') into adjust_ids
  from unnest(adjust_settlements, adjust_limits) with ordinality as u (s, name, i)
  left join lateral (
    select m.limit_id from limits m
    where m.namespace = namespaces[u.s] and m.name = u.name and m.kind <> 'concurrency' offset 0
  ) l on true;
  select
    coalesce(array_agg(t.limit_id order by t.limit_id, t.key), '{}'),
    coalesce(array_agg(t.key order by t.limit_id, t.key), '{}')
  into bucket_limits, bucket_keys
  from (
    select r.limit_id, r.key
    from unnest(namespaces, reservation_ids) as u (namespace, reservation_id)
    cross join lateral (
      select x.limit_id, x.key from reservations x
      where x.namespace = u.namespace and x.reservation_id = u.reservation_id and not x.settled offset 0
    ) r
    cross join lateral (select from limits m where m.limit_id = r.limit_id offset 0) l
    union
    select a.limit_id, a.key collate "C" from unnest(adjust_ids, adjust_keys) as a (limit_id, key)
    where a.limit_id is not null
  ) t;
  -- Buckets before reservations, as acquire does.
  perform lock_buckets(bucket_limits, bucket_keys);
  now_us := coalesce(given_now_us, clock_us());
  perform end_expired_leases(bucket_limits, bucket_keys, now_us);

  for s in 1..cardinality(namespaces) loop
    for reserved in
      update reservations r set settled = true
      where r.namespace = namespaces[s] and r.reservation_id = reservation_ids[s] and not r.settled
      returning r.limit_id, r.key, r.cost, r.era, r.mark_us, r.mark_shift_us
    loop
      changed[s] := true;
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
      if real <> reserved.cost then
        perform settle_bucket(
          reserved.limit_id, reserved.key, real - reserved.cost, reserved.era, reserved.mark_us,
          reserved.mark_shift_us, now_us
        );
      end if;
    end loop;
  end loop;

  for j in 1..cardinality(adjust_ids) loop
    continue when adjust_ids[j] is null;
    s := adjust_settlements[j];
    insert into reservations (namespace, reservation_id, limit_id, key, cost, settled, reserved_us)
    values (
      namespaces[s], reservation_ids[s], adjust_ids[j], adjust_keys[j], adjust_reserved[j], true, now_us
    )
    on conflict do nothing
    returning true into is_new;
    continue when is_new is null;
    changed[s] := true;
    real := case when releases[s] then 0 else adjust_actual[j] end;
    if real > adjust_reserved[j] then
      perform settle_bucket(adjust_ids[j], adjust_keys[j], real - adjust_reserved[j], 0, 0, 0, now_us);
    elsif real < adjust_reserved[j] then
      perform give_back_leased(
        adjust_leases[j], adjust_ids[j], adjust_keys[j], adjust_reserved[j] - real, now_us
      );
    end if;
  end loop;
  return cardinality(array_positions(changed, true));
end $$;
