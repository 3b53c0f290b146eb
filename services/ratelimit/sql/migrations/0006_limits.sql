-- Creates or replaces a limit and returns its id and the new revision; nothing when there are max_limits already.
--
-- Its buckets keep the tokens they hold, up to the new burst. When the unit or the dimensions change the buckets mean
-- something else: they go, and the limit begins with full ones.
create function set_limit(
  given_namespace text,
  given_name text,
  given_unit text,
  token bigint,
  refill bigint,
  capacity bigint,
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

  if old.unit = given_unit and old.definition -> 'per' is not distinct from given_definition -> 'per' then
    update limits l
    set token_grains = token, refill_grains = refill, capacity_grains = capacity, definition = given_definition,
      update_time = now()
    where l.limit_id = old.limit_id
    returning l.limit_id, l.update_time into limit_id, update_time;
    if (old.token_grains, old.refill_grains, old.capacity_grains) <> (token, refill, capacity) then
      update buckets b
      set
        leased = least(b.leased, capacity / token),
        spent = saturated(greatest(
          least(b.leased, capacity / token) * token,
          capacity - least(
            capacity,
            floor((old.capacity_grains::numeric
              - spent_at(b.spent, b.at_us, b.leased * old.token_grains, old.refill_grains, now_us))
              * token / old.token_grains)
          )
        )),
        at_us = greatest(b.at_us, now_us)
      where b.limit_id = old.limit_id;
    end if;
  else
    delete from limits l where l.limit_id = old.limit_id;
    delete from buckets b where b.limit_id = old.limit_id;
    delete from leases l where l.limit_id = old.limit_id;
    insert into limits as l (namespace, name, unit, token_grains, refill_grains, capacity_grains, definition)
    values (given_namespace, given_name, given_unit, token, refill, capacity, given_definition)
    returning l.limit_id, l.update_time into limit_id, update_time;
  end if;
  update revision r set value = r.value + 1 returning r.value into revision;
  return next;
end $$;

-- Whether there was one.
create function delete_limit(given_namespace text, given_name text) returns boolean language plpgsql as $$
declare
  gone bigint;
begin
  perform change_limits();
  delete from limits l where l.namespace = given_namespace and l.name = given_name returning l.limit_id into gone;
  if gone is null then return false; end if;
  delete from buckets where limit_id = gone;
  delete from leases where limit_id = gone;
  update revision set value = value + 1;
  return true;
end $$;
