-- Decides acquisitions in their order, each all or nothing, as GCRA: taking a cost leaves spent + cost, and is allowed if
-- that is at most the capacity.
--
-- limit_ids and keys: the buckets, each once, sorted. Acquisition a has the checks first_checks[a] to
-- first_checks[a + 1] - 1, and a check takes cost tokens from bucket number check_buckets. reservation_ids: null for none,
-- each at most once.
--
-- The answer's revision differs from expected_revision if the limits have changed: then nothing was decided or taken. Else
-- refused_by has for each acquisition the number of the bucket that refused it, 0 if it was admitted; wait_us the wait, -1
-- if waiting does not help.
create function acquire(
  expected_revision bigint,
  limit_ids bigint[],
  keys text[],
  first_checks int[],
  check_buckets int[],
  check_costs bigint[],
  namespaces text[],
  reservation_ids text[],
  given_now_us bigint default null,
  out revision bigint,
  out refused_by text,
  out wait_us text
) language plpgsql as $$
declare
  now_us bigint;
  rows tid[];
  spents bigint[];
  times bigint[];
  token bigint[];
  refill bigint[];
  capacity bigint[];
  leased_grains bigint[];
  any_leased boolean;
  taken boolean[] := array_fill(false, array[cardinality(limit_ids)]);
  known boolean[];
  refusals int[] := array_fill(0, array[cardinality(first_checks) - 1]);
  waits bigint[] := array_fill(0::bigint, array[cardinality(first_checks) - 1]);
  b int;
  c bigint;
  cost bigint;
  wait bigint;
  worst bigint;
  refuser int;
  reserved int;
  inserted int;
begin
  perform share_limits();
  select r.value into revision from revision r;
  if revision <> expected_revision then return; end if;

  perform lock_buckets(limit_ids, keys);
  -- Read when the locks are held: along the decisions on one bucket the time never goes back.
  now_us := coalesce(given_now_us, clock_us());
  for round in 1..2 loop
    select
      array_agg(k.row order by u.i),
      array_agg(spent_at(k.spent, k.at_us, k.leased * l.token_grains, l.refill_grains, now_us) order by u.i),
      array_agg(greatest(k.at_us, now_us) order by u.i),
      array_agg(l.token_grains order by u.i),
      array_agg(l.refill_grains order by u.i),
      array_agg(l.capacity_grains order by u.i),
      array_agg(k.leased * l.token_grains order by u.i),
      coalesce(bool_or(k.leased > 0), false)
    into rows, spents, times, token, refill, capacity, leased_grains, any_leased
    from unnest(limit_ids, keys) with ordinality as u (limit_id, key, i)
    cross join lateral (
      select b.ctid as row, b.spent, b.at_us, b.leased from buckets b
      where b.limit_id = u.limit_id and b.key = u.key offset 0
    ) k
    cross join lateral (
      select m.token_grains, m.refill_grains, m.capacity_grains from limits m where m.limit_id = u.limit_id offset 0
    ) l;
    exit when not any_leased or round = 2 or end_expired_leases(limit_ids, keys, now_us) = 0;
  end loop;

  -- After the locks: whoever reserves the same id with the same buckets has finished by now.
  if cardinality(reservation_ids) > 0 then
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
    for i in first_checks[a]..first_checks[a + 1] - 1 loop
      b := check_buckets[i];
      c := check_costs[i];
      -- First, because c * token may not fit into a bigint.
      if c > capacity[b] / token[b] then
        refuser := b;
        worst := -1;
        exit;
      end if;
      cost := c * token[b];
      if spents[b] > capacity[b] - cost then
        wait := (spents[b] - (capacity[b] - cost) + refill[b] - 1) / refill[b] + (times[b] - now_us);
        if leased_grains[b] > capacity[b] - cost then
          wait := wait + (
            select greatest(0, max(e.expires_us) - now_us) from leases e
            where e.limit_id = limit_ids[b] and e.key = keys[b]
          );
        end if;
        if refuser = 0 or wait > worst then
          refuser := b;
          worst := wait;
        end if;
      end if;
    end loop;
    if refuser = 0 then
      for i in first_checks[a]..first_checks[a + 1] - 1 loop
        b := check_buckets[i];
        spents[b] := spents[b] + check_costs[i] * token[b];
        taken[b] := true;
      end loop;
    else
      refusals[a] := refuser;
      waits[a] := worst;
    end if;
  end loop;

  -- A locked row stays where it is, so its address finds it without the index.
  update buckets k set spent = u.spent, at_us = u.at_us
  from unnest(rows, spents, times, taken) as u (row, spent, at_us, taken)
  where k.ctid = u.row and u.taken;

  if cardinality(reservation_ids) > 0 then
    with checks as (
      select u.namespace, u.reservation_id, check_buckets[i] as bucket, check_costs[i] as tokens
      from unnest(namespaces, reservation_ids, known, refusals) with ordinality
        as u (namespace, reservation_id, known, refuser, a),
        generate_series(first_checks[a], first_checks[a + 1] - 1) i
      where u.reservation_id is not null and not u.known and u.refuser = 0
    ),
    added as (
      insert into reservations (namespace, reservation_id, limit_id, key, cost, reserved_us)
      select k.namespace, k.reservation_id, limit_ids[k.bucket], keys[k.bucket], k.tokens, now_us
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
end $$;
