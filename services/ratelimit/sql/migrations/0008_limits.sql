-- Creates or replaces a limit and returns its id and the new revision; nothing when there are max_limits already.
--
-- Its buckets keep the tokens they hold, up to the new burst, and what a window counts. What is leased stays leased, also where
-- that is more than the new burst. When the kind, the unit or the dimensions change the buckets mean something else: they go, and the
-- limit begins with fresh ones.
create function set_limit(
  given_namespace text,
  given_name text,
  given_unit text,
  given_kind text,
  token bigint,
  refill bigint,
  capacity bigint,
  given_window_us bigint,
  given_slot_us bigint,
  given_definition jsonb,
  max_limits int,
  given_now_us bigint default null
) returns table (limit_id bigint, revision bigint, update_time timestamptz) language plpgsql as $$
declare
  old limits;
  now_us bigint;
begin
  perform change_limits();
  now_us := coalesce(given_now_us, clock_us());
  select l.* into old from limits l where l.namespace = given_namespace and l.name = given_name;
  if old.limit_id is null and (select count(*) from limits) >= max_limits then return; end if;

  if old.unit = given_unit and old.kind = given_kind
    and old.definition -> 'per' is not distinct from given_definition -> 'per'
  then
    -- Leases that ended before the change are counted by what held then.
    perform end_expired_leases(array_agg(e.limit_id), array_agg(e.key), now_us)
    from (
      select distinct l.limit_id, l.key from leases l
      where l.limit_id = old.limit_id and l.mark_us is null and l.expires_us <= now_us
    ) e;
    update limits l
    set token_grains = token, refill_grains = refill, capacity_grains = capacity, window_us = given_window_us,
      slot_us = given_slot_us, definition = given_definition, update_time = now()
    where l.limit_id = old.limit_id
    returning l.limit_id, l.update_time into limit_id, update_time;
    if (old.window_us, old.slot_us) <> (given_window_us, given_slot_us) then
      update buckets b set era = nextval('eras') where b.limit_id = old.limit_id;
    end if;
    if given_kind = 'token_bucket'
      and (old.token_grains, old.refill_grains, old.capacity_grains) <> (token, refill, capacity)
    then
      update buckets b
      set
        era = nextval('eras'),
        -- A token may be so many more grains now that what is leased cannot be counted in them.
        leased = least(b.leased, 4611686018427387904 / token),
        -- A full one stays full, as one without a row does.
        spent = case when n.missing = 0 then 0 else saturated(greatest(
          least(b.leased, 4611686018427387904 / token)::numeric * token,
          capacity - least(
            capacity, floor((old.capacity_grains::numeric - n.missing) * token / old.token_grains)
          )
        )) end,
        at_us = case when n.missing = 0 then b.at_us else greatest(b.at_us, now_us) end
      from (
        select
          x.key,
          spent_at(x.spent, x.at_us, x.leased * old.token_grains, old.refill_grains, now_us) as missing
        from buckets x where x.limit_id = old.limit_id
      ) n
      where b.limit_id = old.limit_id and b.key = n.key;
    end if;
  else
    delete from limits l where l.limit_id = old.limit_id;
    delete from buckets b where b.limit_id = old.limit_id;
    delete from leases l where l.limit_id = old.limit_id and l.mark_us is null;
    insert into limits as l (
      namespace, name, unit, kind, token_grains, refill_grains, capacity_grains, window_us, slot_us, definition
    )
    values (
      given_namespace, given_name, given_unit, given_kind, token, refill, capacity, given_window_us, given_slot_us,
      given_definition
    )
    returning l.limit_id, l.update_time into limit_id, update_time;
  end if;
  update revision r set value = r.value + 1 returning r.value into revision;
  return next;
end $$;

create function delete_limit(given_namespace text, given_name text) returns boolean language plpgsql as $$
declare
  gone bigint;
begin
  perform change_limits();
  delete from limits l where l.namespace = given_namespace and l.name = given_name returning l.limit_id into gone;
  if gone is null then return false; end if;
  delete from buckets where limit_id = gone;
  delete from leases where limit_id = gone and mark_us is null;
  update revision set value = value + 1;
  return true;
end $$;

-- Makes a bucket admit nothing for so long; 0 ends that. A pause that lasts longer is kept. Returns until when it is paused, 0 for
-- not; null if there is no such limit.
create function pause_limit(
  given_namespace text, given_name text, given_key text, duration_us bigint, given_now_us bigint default null
) returns bigint language plpgsql as $$
declare
  paused_limit bigint;
  now_us bigint;
  old_us bigint;
  until_us bigint;
begin
  perform share_limits();
  select l.limit_id into paused_limit from limits l where l.namespace = given_namespace and l.name = given_name;
  if not found then return null; end if;
  perform lock_buckets(array[paused_limit], array[given_key]);
  now_us := coalesce(given_now_us, clock_us());
  select b.pause_until_us into old_us from buckets b where b.limit_id = paused_limit and b.key = given_key;
  until_us := case when duration_us = 0 then 0 else greatest(old_us, now_us + duration_us) end;
  if until_us <> old_us then
    update buckets b set pause_until_us = until_us where b.limit_id = paused_limit and b.key = given_key;
    update revision set pauses = pauses + 1;
  end if;
  return until_us;
end $$;
