-- Decides acquisitions in their order, each all or nothing: a token bucket has spent + cost grains afterwards, a window counts
-- used + cost, and it is allowed if that is at most the capacity, everywhere. All are decided at one moment, so what a window counts
-- is one number here.
--
-- limit_ids and keys: the buckets, each once, sorted; token to slots: their limits' columns, as of expected_revision. Acquisition a has the checks first_checks[a] to
-- first_checks[a + 1] - 1, and a check takes cost tokens from bucket number check_buckets. reservation_ids: null for none,
-- each at most once. orders: empty, or for each acquisition the number of the call whose order it keeps, 0 for none.
--
-- The answer's revision differs from expected_revision if the limits have changed: then nothing was decided or taken. Else
-- refused_by has for each acquisition the number of the bucket that refused it, 0 if it was admitted; wait_us the wait, -1
-- if waiting does not help; paused the numbers of the buckets that are paused.
create function acquire(
  expected_revision bigint,
  limit_ids bigint[],
  keys text[],
  token bigint[],
  refill bigint[],
  capacity bigint[],
  lengths bigint[],
  slots bigint[],
  first_checks int[],
  check_buckets int[],
  check_costs bigint[],
  namespaces text[],
  reservation_ids text[],
  orders int[],
  given_now_us bigint default null,
  out revision bigint,
  out refused_by text,
  out wait_us text,
  out paused text
) language plpgsql as $$
declare
  now_us bigint;
  rows tid[];
  spents bigint[];
  times bigint[];
  stored_spents bigint[];
  leased bigint[];
  last_pause bigint;
  shifts bigint[];
  eras bigint[];
  pauses bigint[];
  leased_grains bigint[];
  any_leased boolean;
  any_paused boolean;
  any_window boolean;
  ordered boolean := cardinality(orders) > 0;
  reserving boolean := cardinality(reservation_ids) > 0;
  added bigint[] := array_fill(0::bigint, array[cardinality(limit_ids)]);
  blocked_by int[] := array_fill(0, array[cardinality(limit_ids)]);
  blocked_us bigint[] := array_fill(0::bigint, array[cardinality(limit_ids)]);
  check_waits bigint[] := array_fill(0::bigint, array[cardinality(check_buckets)]);
  marks bigint[] := array_fill(0::bigint, array[cardinality(check_buckets)]);
  known boolean[];
  refusals int[] := array_fill(0, array[cardinality(first_checks) - 1]);
  waits bigint[] := array_fill(0::bigint, array[cardinality(first_checks) - 1]);
  b int;
  c bigint;
  wait bigint;
  worst bigint;
  refuser int;
  reserved int;
  inserted int;
begin
  perform share_limits();
  select r.value into revision from revision r;
  if revision <> expected_revision then return; end if;

  for round in 1..3 loop
    -- Locks as lock_buckets does and reads in the same step, which takes half the time of both; the order is that of the arrays.
    select
      array_agg(k.row), array_agg(k.spent), array_agg(k.at_us), array_agg(k.leased), array_agg(k.shift_us), array_agg(k.era),
      array_agg(k.pause_until_us), coalesce(bool_or(k.leased > 0), false), coalesce(max(k.pause_until_us), 0)
    into rows, stored_spents, times, leased, shifts, eras, pauses, any_leased, last_pause
    from unnest(limit_ids, keys) as u (limit_id, key)
    cross join lateral (
      select b.ctid as row, b.spent, b.at_us, b.leased, b.shift_us, b.era, b.pause_until_us
      from buckets b
      where b.limit_id = u.limit_id and b.key = u.key
      for update
    ) k;
    if coalesce(cardinality(rows), 0) < cardinality(limit_ids) then
      perform lock_buckets(limit_ids, keys);
      continue;
    end if;
    -- Read when the locks are held: along the decisions on one bucket the time never goes back.
    now_us := coalesce(given_now_us, clock_us());
    exit when not any_leased or end_expired_leases(limit_ids, keys, now_us) = 0;
  end loop;
  any_paused := last_pause > now_us;
  select
    array_agg(spent_at(u.spent, u.at_us, u.leased * u.token, u.refill, now_us)),
    array_agg(greatest(u.at_us, now_us)),
    array_agg(u.leased * u.token),
    coalesce(bool_or(u.length > 0), false)
  into spents, times, leased_grains, any_window
  from unnest(stored_spents, times, leased, token, refill, lengths) as u (spent, at_us, leased, token, refill, length);
  if any_window then
    for i in 1..cardinality(limit_ids) loop
      continue when lengths[i] = 0;
      select k.leased + coalesce((
        select sum(o.cost) from unnest(k.log_at, k.log_cost) as o (at, cost) where o.at > times[i] - lengths[i]
      ), 0)::bigint
      into c
      from buckets k where k.ctid = rows[i];
      spents[i] := c;
    end loop;
  end if;

  -- After the locks: whoever reserves the same id with the same buckets has finished by now.
  if reserving then
    select array_agg(k.found is not null order by u.i) into known
    from unnest(namespaces, reservation_ids) with ordinality as u (namespace, reservation_id, i)
    left join lateral (
      select 1 as found from reservations r
      where r.namespace = u.namespace and r.reservation_id = u.reservation_id limit 1
    ) k on true;
  end if;

  for a in 1..cardinality(first_checks) - 1 loop
    continue when known[a];
    refuser := 0;
    worst := 0;
    for i in first_checks[a]..first_checks[a + 1] - 1 loop
      b := check_buckets[i];
      c := check_costs[i];
      -- First, because c * token may not fit into a bigint.
      if c > capacity[b] / token[b] then
        refuser := b;
        worst := -1;
        exit;
      end if;
      wait := 0;
      if spents[b] > capacity[b] - c * token[b] then
        if lengths[b] > 0 then
          wait := window_wait(
            limit_ids[b], keys[b], lengths[b], slots[b], times[b], added[b], spents[b] - (capacity[b] - c), now_us
          );
        elsif leased_grains[b] > capacity[b] - c * token[b] then
          wait := token_wait(
            limit_ids[b], keys[b], spents[b], times[b], leased_grains[b], token[b], refill[b],
            capacity[b] - c * token[b], now_us
          );
        else
          wait := (spents[b] - (capacity[b] - c * token[b]) + refill[b] - 1) / refill[b] + (times[b] - now_us);
        end if;
      end if;
      if any_paused then wait := greatest(wait, pauses[b] - now_us); end if;
      if ordered then
        if orders[a] > 0 and blocked_by[b] = orders[a] then wait := greatest(wait, blocked_us[b]); end if;
        check_waits[i] := wait;
      end if;
      if wait > worst then
        refuser := b;
        worst := wait;
      end if;
    end loop;
    if refuser = 0 then
      for i in first_checks[a]..first_checks[a + 1] - 1 loop
        b := check_buckets[i];
        spents[b] := spents[b] + check_costs[i] * token[b];
        added[b] := added[b] + check_costs[i];
        if reserving then
          marks[i] := case
            when lengths[b] > 0 then slot_end(times[b], slots[b])
            else times[b] + (spents[b] - leased_grains[b]) / refill[b] + shifts[b]
          end;
        end if;
      end loop;
    else
      refusals[a] := refuser;
      waits[a] := worst;
      if ordered and orders[a] > 0 and worst > 0 then
        for i in first_checks[a]..first_checks[a + 1] - 1 loop
          b := check_buckets[i];
          if check_waits[i] > 0 then
            blocked_by[b] := orders[a];
            blocked_us[b] := check_waits[i];
          end if;
        end loop;
      end if;
    end if;
  end loop;

  -- A locked row stays where it is, so its address finds it without the index.
  update buckets k set spent = u.spent, at_us = u.at_us
  from unnest(rows, spents, times, added, lengths) as u (row, spent, at_us, added, length)
  where k.ctid = u.row and u.added > 0 and u.length = 0;
  if any_window then
    update buckets k
    set
      at_us = u.at_us,
      (log_at, log_cost) = (
        select * from log_with(k.log_at, k.log_cost, u.at_us - u.length, slot_end(u.at_us, u.slot), u.added)
      )
    from unnest(rows, times, added, lengths, slots) as u (row, at_us, added, length, slot)
    where k.ctid = u.row and u.added > 0 and u.length > 0;
  end if;

  if reserving then
    with checks as (
      select u.namespace, u.reservation_id, check_buckets[i] as bucket, check_costs[i] as tokens, marks[i] as mark
      from unnest(namespaces, reservation_ids, known, refusals) with ordinality
        as u (namespace, reservation_id, known, refuser, a),
        generate_series(first_checks[a], first_checks[a + 1] - 1) i
      where u.reservation_id is not null and not u.known and u.refuser = 0
    ),
    added as (
      insert into reservations (
        namespace, reservation_id, limit_id, key, cost, reserved_us, era, mark_us, mark_shift_us
      )
      select
        k.namespace, k.reservation_id, limit_ids[k.bucket], keys[k.bucket], k.tokens, now_us, eras[k.bucket], k.mark,
        shifts[k.bucket]
      from checks k order by k.namespace, k.reservation_id, limit_ids[k.bucket]
      on conflict do nothing
      returning 1
    )
    select (select count(*) from checks), (select count(*) from added) into reserved, inserted;
    -- The same id with other buckets, at the same moment. Nothing of this batch is kept; again, the id is known.
    if inserted <> reserved then
      raise exception 'a reservation_id was reserved elsewhere meanwhile' using errcode = 'serialization_failure';
    end if;
  end if;

  refused_by := array_to_string(refusals, ',');
  wait_us := array_to_string(waits, ',');
  if any_paused then
    select string_agg(u.i::text, ',') into paused
    from unnest(pauses) with ordinality as u (until_us, i) where u.until_us > now_us;
  end if;
end $$;
