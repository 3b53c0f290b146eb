create function clock_us() returns bigint language sql volatile
return (extract(epoch from clock_timestamp()) * 1000000)::bigint;

-- On "offset 0" here and below: it keeps Postgres from choosing what to look up in what. A plan is kept for as long as its
-- connection, and one made when a table was known to have one row scans the table for each of 500 keys. With plain joins that
-- was 1.4 s for a batch over 10,000 buckets instead of 10 ms, until the table happened to be analyzed again.

-- The grains missing from a bucket at now_us, counted from spent at at_us. What is leased out is not refilled. A clock that
-- was set back refills nothing until it has caught up.
create function spent_at(spent bigint, at_us bigint, leased_grains bigint, refill bigint, now_us bigint)
returns bigint language sql immutable
return greatest(
  leased_grains,
  case
    when now_us <= at_us then spent
    when now_us - at_us > spent / refill then 0
    else spent - (now_us - at_us) * refill
  end
);

-- A settlement may charge any number of tokens. A debt stops at one and a half times the largest capacity, 2^62, so that sums
-- with it fit into a bigint.
create function saturated(amount numeric) returns bigint language sql immutable
return least(amount, 6917529027641081856)::bigint;

-- Decisions share this lock and a change of limits takes it alone, so that each decision is made wholly by the limits
-- before a change or wholly by those after it.
create function share_limits() returns void language sql volatile
begin atomic
  select pg_advisory_xact_lock_shared(hashtextextended('ratelimit limits', 0));
end;

create function change_limits() returns void language sql volatile
begin atomic
  select pg_advisory_xact_lock(hashtextextended('ratelimit limits', 0));
end;

-- Locks buckets until the end of the transaction, making those that are missing. Callers give them in one order, the same
-- everywhere, so that no two wait for each other. "where false" locks a row without writing a new version of it.
create function lock_buckets(limit_ids bigint[], keys text[]) returns void language sql volatile
begin atomic
  insert into buckets (limit_id, key)
  select * from unnest(limit_ids, keys)
  on conflict (limit_id, key) do update set at_us = excluded.at_us where false;
end;
