-- Limits, as far as they are held here: what waits for one, and what runs under one. Only tasks that a limit applies to have a
-- lane; for all others lane_key is null everywhere and nothing below is touched.

-- One bucket of a limit.
create table gates (
  gate_key bigint generated always as identity primary key,
  namespace text not null,
  limit_name text not null,
  bucket_key text not null,
  -- Of a concurrency limit: the rows of queue and leases whose lane has it among its slot_gates. Changed only in the transaction that
  -- adds or removes such rows, so that no crash can leak one.
  held int not null default 0,
  -- Whether a lane was turned away for want of a slot since one was last given back.
  awaited bool not null default false,
  -- Admits nothing before.
  pause_until timestamptz not null default '-infinity',
  use_time timestamptz not null default now(),
  unique (namespace, limit_name, bucket_key)
) with (fillfactor = 50);

-- Tasks that the same gates count, and for concurrency limits of one route: they pass one after the other.
create table lanes (
  lane_key bigint generated always as identity primary key,
  -- 0: of any route.
  route_key int not null,
  -- Both sorted.
  rate_gates bigint[] not null,
  slot_gates bigint[] not null,
  use_time timestamptz not null default now(),
  unique (route_key, slot_gates, rate_gates)
);
create index lanes_by_gate on lanes using gin ((rate_gates || slot_gates));

-- One row for each lane that has parked tasks, however many: all that is looked at to find out who may go on.
create table heads (
  lane_key bigint primary key,
  -- When to try next.
  next_time timestamptz not null,
  -- Who tries has it until then; its turn is the fence.
  claim_until timestamptz not null default '-infinity',
  turn bigint not null default 0,
  -- The gate that turned it away last.
  blocked_by bigint
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index heads_due on heads (next_time);
create index heads_blocked on heads (blocked_by);
create sequence turns;

-- Tasks that limits hold back. The queue never sees them.
create table parked (
  lane_key bigint not null,
  rank smallint not null,
  task_key bigint not null,
  segment int not null,
  route_key int not null,
  attempts int not null,
  submitter int not null,
  last_failure bytea,
  -- Whether its rate limits have admitted it: then it waits for a slot, or for the end of a pause, or behind others.
  paid bool not null,
  -- The leases of tokens that it was paid from, in the order of its lane's rate_gates, 0 for none; null: it was paid otherwise.
  spent bigint[],
  primary key (lane_key, rank, task_key)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
create index parked_by_task on parked (task_key);

alter table queue add lane_key bigint, add spent bigint[];
create index queue_by_lane on queue (lane_key) where lane_key is not null;
alter table leases add lane_key bigint, add spent bigint[];
create index leases_by_lane on leases (lane_key) where lane_key is not null;
alter table scheduled add lane_key bigint, add paid bool not null default true, add spent bigint[];
create index scheduled_by_lane on scheduled (lane_key) where lane_key is not null;

-- What the arbiter of rates is to be told of an attempt; stored with the attempt's end, deleted when it has been told.
create table notes (
  note_key bigint generated always as identity primary key,
  task_key bigint not null,
  segment int not null,
  lane_key bigint not null,
  -- 0: it never began, and what was taken for it is given back.
  attempt int not null,
  -- A legion.common.v1.ExecutionStats with what it cost; null: not said.
  costs bytea,
  spent bigint[],
  pause_until timestamptz,
  -- Empty: all that counted the task.
  pause_limit text not null default '',
  -- Who delivers it has it until then.
  claim_until timestamptz not null default '-infinity'
);
create index notes_due on notes (claim_until);

-- What a live instance's sessions can run, by route.
alter table instances add served int[] not null default '{}';

-- Gives back a slot of every slot gate for each of the lanes, once for each time it is named. Returns the gates that somebody waits for.
-- Whoever changes gates locks them in the order of their keys, and after heads.
create function release_slots(p_lanes bigint[]) returns setof bigint language plpgsql as $$
declare
  v_gates bigint[];
  v_counts int[];
  v_awaited bigint[];
begin
  select array_agg(x.gate order by x.gate), array_agg(x.n order by x.gate) into v_gates, v_counts from (
    select g.gate, count(*)::int as n
    from unnest(p_lanes) as u (lane_key) join lanes l using (lane_key), unnest(l.slot_gates) as g (gate)
    group by g.gate
  ) x;
  if v_gates is null then return; end if;
  select array_agg(y.gate_key) filter (where y.awaited) into v_awaited from (
    select gate_key, awaited from gates where gate_key = any(v_gates) order by gate_key for no key update
  ) y;
  update gates g set held = g.held - u.n, awaited = false
  from unnest(v_gates, v_counts) as u (gate, n) where g.gate_key = u.gate;
  return query select unnest(v_awaited);
end $$;

-- Ends a round over some lanes: moves the tasks named, in their order, into the queue, each with a slot of every slot gate of its
-- lane or not at all; marks those that their rates admitted and that did not get one; says when each lane is to be tried next.
-- A delay below 0 means at once, or when there is a slot.
-- Lanes whose turn is somebody else's by now are left alone. A gate without a maximum here takes any number.
create function end_round(
  p_lanes bigint[], p_turns bigint[], p_delays float8[], p_blocked bigint[],
  p_task_lanes bigint[], p_ranks smallint[], p_tasks bigint[],
  p_gates bigint[], p_maxes int[], p_recheck_ms float8
) returns table (moved_route int, moved_rank smallint, moved_task bigint) language plpgsql as $$
declare
  v_lanes bigint[];
  v_gates bigint[];
  v_free int[];
  v_taken int[];
  v_full bigint[] := '{}';
  v_stopped bigint[] := '{}';
  v_stopped_by bigint[] := '{}';
  v_go bigint[] := '{}';
  v_gate bigint;
  r record;
begin
  select array_agg(x.lane_key) into v_lanes from (
    select h.lane_key from heads h join unnest(p_lanes, p_turns) as u (lane, turn) on h.lane_key = u.lane and h.turn = u.turn
    order by h.lane_key for no key update of h
  ) x;
  if v_lanes is null then return; end if;
  select array_agg(x.gate_key), array_agg(x.free), array_agg(0) into v_gates, v_free, v_taken from (
    select g.gate_key, coalesce(m.max, 2147483647) - g.held as free
    from gates g left join unnest(p_gates, p_maxes) as m (gate, max) on m.gate = g.gate_key
    where g.gate_key in (select unnest(l.slot_gates) from lanes l where l.lane_key = any(v_lanes))
    order by g.gate_key for no key update of g
  ) x;
  for r in
    select u.lane, u.task, l.slot_gates
    from unnest(p_task_lanes, p_ranks, p_tasks) with ordinality as u (lane, rank, task, ord)
    join lanes l on l.lane_key = u.lane
    -- One that was canceled meanwhile takes no slot.
    join parked p on p.lane_key = u.lane and p.rank = u.rank and p.task_key = u.task
    where u.lane = any(v_lanes)
    order by u.ord
    for update of p
  loop
    continue when r.lane = any(v_stopped);
    select g into v_gate from unnest(r.slot_gates) as g where v_free[array_position(v_gates, g)] <= 0 limit 1;
    if v_gate is null then
      foreach v_gate in array r.slot_gates loop
        v_free[array_position(v_gates, v_gate)] := v_free[array_position(v_gates, v_gate)] - 1;
        v_taken[array_position(v_gates, v_gate)] := v_taken[array_position(v_gates, v_gate)] + 1;
      end loop;
      v_go := v_go || r.task;
    else
      v_stopped := v_stopped || r.lane;
      v_stopped_by := v_stopped_by || v_gate;
      v_full := v_full || v_gate;
    end if;
  end loop;
  for r in
    select u.lane, l.slot_gates from unnest(p_lanes, p_delays) as u (lane, delay) join lanes l on l.lane_key = u.lane
    where u.delay < 0 and u.lane = any(v_lanes) and not u.lane = any(v_stopped)
  loop
    select g into v_gate from unnest(r.slot_gates) as g where v_free[array_position(v_gates, g)] <= 0 limit 1;
    continue when v_gate is null;
    v_stopped := v_stopped || r.lane;
    v_stopped_by := v_stopped_by || v_gate;
    v_full := v_full || v_gate;
  end loop;
  update parked p set paid = true
  from unnest(p_task_lanes, p_ranks, p_tasks) as u (lane, rank, task)
  where p.lane_key = u.lane and p.rank = u.rank and p.task_key = u.task and u.lane = any(v_lanes)
    and not p.paid and not u.task = any(v_go);
  if v_gates is not null then
    update gates g set held = g.held + u.taken, awaited = g.awaited or g.gate_key = any(v_full)
    from unnest(v_gates, v_taken) as u (gate, taken)
    where g.gate_key = u.gate and (u.taken > 0 or g.gate_key = any(v_full));
  end if;
  return query
    with gone as (
      delete from parked p using unnest(p_task_lanes, p_ranks, p_tasks) as u (lane, rank, task)
      where p.lane_key = u.lane and p.rank = u.rank and p.task_key = u.task and u.task = any(v_go)
      returning p.*
    )
    insert into queue (route_key, rank, task_key, segment, attempts, submitter, last_failure, lane_key, spent)
    select gone.route_key, gone.rank, gone.task_key, gone.segment, gone.attempts, gone.submitter, gone.last_failure,
      gone.lane_key, gone.spent
    from gone
    returning queue.route_key, queue.rank, queue.task_key;
  -- With the lock on its head held, whoever parks waits, and whoever parked before is seen by this statement.
  delete from heads h where h.lane_key = any(v_lanes) and not exists (select from parked p where p.lane_key = h.lane_key);
  update heads h set
    claim_until = '-infinity',
    next_time = case when s.gate is not null then now() + p_recheck_ms * interval '1 ms' else now() + greatest(0, u.delay) * interval '1 ms' end,
    blocked_by = coalesce(s.gate, u.blocked)
  from unnest(p_lanes, p_delays, p_blocked) as u (lane, delay, blocked)
    left join unnest(v_stopped, v_stopped_by) as s (lane, gate) on s.lane = u.lane
  where h.lane_key = u.lane and h.lane_key = any(v_lanes);
end $$;

-- What is queued of these lanes goes back to be parked until then, and gives its slots back. Returns the gates that somebody waits
-- for a slot of.
create function return_queued(p_lanes bigint[], p_until timestamptz, p_gate bigint) returns setof bigint language plpgsql as $$
declare
  v_back bigint[];
begin
  -- Heads come before whatever else is locked.
  perform 1 from heads where lane_key = any(p_lanes) order by lane_key for no key update;
  insert into heads (lane_key, next_time, blocked_by)
  select distinct q.lane_key, p_until, p_gate from queue q where q.lane_key = any(p_lanes) order by q.lane_key
  on conflict (lane_key) do update set next_time = heads.next_time;
  with gone as (
    delete from queue q using heads h where q.lane_key = any(p_lanes) and h.lane_key = q.lane_key returning q.*
  ), back as (
    insert into parked (lane_key, rank, task_key, segment, route_key, attempts, submitter, last_failure, paid, spent)
    select lane_key, rank, task_key, segment, route_key, attempts, submitter, last_failure, true, spent from gone
  )
  select array_agg(lane_key) into v_back from gone;
  update heads set next_time = p_until, blocked_by = p_gate where lane_key = any(p_lanes) and next_time < p_until;
  return query select release_slots(v_back);
end $$;
