-- What a claim and a report cost the server. Measured on PostgreSQL 18, CPU time of a claim and a report together:
--   A CHECK is parsed and compiled anew by each statement that writes the table, a sixth of what a claim of one and its
--   report cost. What these said is looked for by the tests of the queue in every row they leave instead: by hand nobody
--   writes what they kept out, the triggers see to that.
--   A row trigger before an update locks each row, in the log too, whether it fires or not. For a statement, or after
--   the row, it does not: 5 %.

alter table public.tasks drop constraint tasks_row;
alter table public.task_attempts drop constraint task_attempts_row;

drop trigger by_hand on public.task_attempts;
create trigger by_hand before insert or update or delete on public.task_attempts
  for each statement when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.refuse_by_hand();

create function ccm.after_task_update() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  faults text;
  was public.tasks := old;
  becomes public.tasks := new;
begin
  if new is not distinct from old then return null; end if;
  if new.status is distinct from old.status then
    raise sqlstate 'PT409' using
      message = pg_catalog.format('Task %s is %s, and its status is not set by hand.', old.id, old.status),
      hint = 'select task_cancel(system, id, reason) ends a task, select task_retry(system, id) starts one again.';
  end if;
  if old.status <> 'queued' then
    raise sqlstate 'PT409' using
      message = pg_catalog.format('Task %s has been claimed and is %s: it cannot be edited any more.', old.id, old.status),
      hint = 'Cancel it and insert a new one.';
  end if;
  -- What is left when everything a person may change is made equal must be equal.
  becomes.prompt := old.prompt; becomes.priority := old.priority; becomes.role := old.role;
  becomes.model := old.model; becomes.labels := old.labels; becomes.scheduled_at := old.scheduled_at;
  becomes.timeout_s := old.timeout_s; becomes.permission_mode := old.permission_mode;
  becomes.allowed_tools := old.allowed_tools; becomes.disallowed_tools := old.disallowed_tools;
  becomes.in_place := old.in_place; becomes.max_tokens := old.max_tokens;
  becomes.max_cost_usd := old.max_cost_usd; becomes.only_worker := old.only_worker;
  becomes.project := old.project;
  if becomes is distinct from was then
    raise sqlstate 'PT409' using
      message = pg_catalog.format('Of task %s only what was asked for can be edited; the rest is set by the queue, and depends_on, dedupe_key and source stay as inserted.', old.id);
  end if;
  if not exists (select from public.projects as p where p.system_id = new.system_id and p.name = new.project) then
    raise sqlstate 'PT400' using message = pg_catalog.format('There is no project "%s" in the system "%s".', new.project, new.system_id);
  end if;
  faults := ccm.task_faults(new);
  if faults <> '' then raise sqlstate 'PT400' using message = faults; end if;
  if new.scheduled_at is null then
    perform pg_catalog.set_config('ccm.step', 'on', true);
    update public.tasks as t set scheduled_at = ccm.now() where t.system_id = new.system_id and t.id = new.id;
    perform pg_catalog.set_config('ccm.step', '', true);
  end if;
  return null;
end $$;
-- These would meet a unique index before the trigger after the row could say a word.
create function ccm.refuse_new_keys() returns trigger
language plpgsql set search_path = ''
as $$
begin
  raise sqlstate 'PT409' using message = 'A task keeps the system, the id and the keys that it was inserted with.';
end $$;
create trigger keys_by_hand before update of system_id, id, dedupe_key, request_key on public.tasks
  for each statement when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.refuse_new_keys();
-- The capital lets it speak before the foreign key does: triggers of a row fire in the order of their names.
create trigger "After_update" after update on public.tasks
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.after_task_update();
drop trigger before_update on public.tasks;
drop function ccm.before_task_update;

-- What runs has an attempt without an outcome, and that is in an index already; one more for it in tasks was written at
-- each claim: 10 % of a claim and a report in batches.
alter table public.task_attempts add column project text collate "C";
comment on column public.task_attempts.project is 'The project of the task.';
select pg_catalog.set_config('ccm.step', 'on', true);
update public.task_attempts as a set project = t.project
from public.tasks as t where t.system_id = a.system_id and t.id = a.task_id;
select pg_catalog.set_config('ccm.step', '', true);
drop index public.task_attempts_live;
create index task_attempts_live on public.task_attempts (system_id, project, lease_expires_at) where outcome is null;
drop index public.tasks_running;

create or replace function public.tasks_claim(
  p_system text, p_worker text, p_epoch integer, p_limit integer, p_lease_ms bigint,
  p_projects text[], p_roles text[], p_labels text[], p_except text[] default '{}'
) returns setof ccm.task_rows
language plpgsql security definer set search_path = ''
  set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_bitmapscan = 'off' set enable_sort = 'off'
  set enable_hashjoin = 'off' set enable_mergejoin = 'off'
as $$
declare
  room integer := least(p_limit, 1000);
  at timestamptz;
  expires timestamptz;
  found_now integer;
  queued constant text := 'queued';
  done text;
  newest_epoch integer;
  draining boolean;
  only_project text;
  is_last boolean;
  places tid[];
  ids text[];
  attempts integer[];
begin
  done := pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('worker ' || p_worker, p_system))::text;
  -- A worker of one project without a limit: nothing is counted and nobody takes turns, so claims need not wait for
  -- each other. A limit that is set now waits for this claim, and one that was set just before leaves it empty.
  select w.epoch, w.draining, p.name, p.turn > 0 and not exists (
      select from public.projects as q where q.system_id = p_system and q.turn > p.turn)
  into newest_epoch, draining, only_project, is_last
  from public.workers as w
    left join public.projects as p on p.system_id = p_system and p.name = p_projects[1] and cardinality(p_projects) = 1
      and not p.paused and p.max_running is null
  where w.system_id = p_system and w.id = p_worker;
  if newest_epoch is distinct from p_epoch or p_epoch is null then
    perform ccm.fence(p_system, p_worker, p_epoch);
  end if;
  if room <= 0 or draining then return; end if;
  if only_project is not null then
    done := pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('claim', p_system))::text;
    at := ccm.now();
    expires := at + p_lease_ms * interval '1 millisecond';
    -- Three plain statements cost less than one of three parts. The rows are locked as they are picked, so they stay
    -- where they are and each one is updated.
    select array_agg(l.place), array_agg(l.id), array_agg(l.attempt) into places, ids, attempts from (
      select t.ctid as place, t.id, t.attempt + 1 as attempt from public.tasks as t
      where t.system_id = p_system and t.project = only_project and t.status = 'queued' and t.scheduled_at <= at
        and t.id <> all (p_except)
        and exists (
          select from public.projects as p
          where p.system_id = p_system and p.name = only_project and not p.paused and p.max_running is null)
        and (t.role is null or p_roles is null or t.role = any (p_roles))
        and t.labels <@ p_labels
        and (t.only_worker is null or t.only_worker = p_worker)
        and (t.resume_until is null or t.resume_until <= at or t.resume_worker = p_worker)
        and (t.depends_on = '{}' or not exists (
          select from unnest(t.depends_on) as d (id)
            left join public.tasks as o on o.system_id = p_system and o.id = d.id
          where o.status is distinct from 'succeeded'))
      order by t.priority desc, t.scheduled_at, t.created_at, t.id
      limit room for update skip locked
    ) as l;
    if places is null then return; end if;
    done := pg_catalog.set_config('ccm.step', 'on', true);
    insert into public.task_attempts (system_id, task_id, attempt, project, worker, epoch, claimed_at, lease_expires_at)
    select p_system, l.id, l.attempt, only_project, p_worker, p_epoch, at, expires from unnest(ids, attempts) as l (id, attempt);
    return query
    with claimed as (
      update public.tasks as t
      set status = 'running', attempt = t.attempt + 1, worker = p_worker, started_at = coalesce(t.started_at, at),
        claude_session_id = case when t.resume_worker = p_worker then t.claude_session_id end,
        resume_worker = case when t.resume_worker = p_worker then t.resume_worker end,
        resume_until = case when t.resume_worker = p_worker then t.resume_until end
      where t.ctid = any (places)
      returning t.*
    )
    select c.*, expires from claimed as c order by c.priority desc, c.scheduled_at, c.created_at, c.id;
    -- For workers of several projects it has had its turn.
    if not is_last then
      update public.projects as p set turn = newest.turn + 1
      from (select max(q.turn) as turn from public.projects as q where q.system_id = p_system) as newest
      where p.system_id = p_system and p.name = only_project and (p.turn < newest.turn or p.turn = 0);
    end if;
    done := pg_catalog.set_config('ccm.step', '', true);
    return;
  end if;

  -- One claim at a time in a system: limits of projects are exact, and each project gets its turn.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('claim', p_system));
  at := ccm.now();
  expires := at + p_lease_ms * interval '1 millisecond';
  perform pg_catalog.set_config('ccm.step', 'on', true);
  -- One priority a round, because each round changes whose turn it is in the next.
  while room > 0 loop
    return query
    with line as materialized (
      select p.name, p.turn,
        case when p.max_running is null then room
          else least(room, p.max_running - (
            select count(*) from public.task_attempts as a
            where a.system_id = p_system and a.project = p.name and a.outcome is null)::integer) end as room
      from public.projects as p
      where p.system_id = p_system and p.name = any (p_projects) and not p.paused
    ),
    candidate as materialized (
      select line.name, line.turn, c.*,
        max(c.priority) over () as best,
        row_number() over (partition by line.name order by c.priority desc, c.scheduled_at, c.created_at, c.id) as n
      from line cross join lateral (
        select t.id, t.priority, t.scheduled_at, t.created_at
        from public.tasks as t
        where t.system_id = p_system and t.project = line.name and t.status = 'queued' and t.scheduled_at <= at
          and t.id <> all (p_except)
          and (t.role is null or p_roles is null or t.role = any (p_roles))
          and t.labels <@ p_labels
          and (t.only_worker is null or t.only_worker = p_worker)
          and (t.resume_until is null or t.resume_until <= at or t.resume_worker = p_worker)
          and (t.depends_on = '{}' or not exists (
            select from unnest(t.depends_on) as d (id)
              left join public.tasks as o on o.system_id = p_system and o.id = d.id
            where o.status is distinct from 'succeeded'))
        order by t.priority desc, t.scheduled_at, t.created_at, t.id
        limit greatest(line.room, 0)
      ) as c
    ),
    -- Whose turn it is in each round of the projects is settled by its first candidates.
    head as (
      select c.name, row_number() over (order by c.turn, c.scheduled_at, c.created_at, c.id) as place
      from candidate as c where c.n = 1 and c.priority = c.best
    ),
    pick as materialized (
      select c.name, c.id, row_number() over (order by c.n, head.place) as n
      from candidate as c join head on head.name = c.name
      where c.priority = c.best
      order by c.n, head.place limit room
    ),
    claimed as (
      update public.tasks as t
      set status = 'running', attempt = t.attempt + 1, worker = p_worker, started_at = coalesce(t.started_at, at),
        -- Its own worker goes on with the session; anybody else starts it fresh.
        claude_session_id = case when t.resume_worker = p_worker then t.claude_session_id end,
        resume_worker = case when t.resume_worker = p_worker then t.resume_worker end,
        resume_until = case when t.resume_worker = p_worker then t.resume_until end
      from pick
      where t.system_id = p_system and t.id = pick.id and t.status = queued
      returning t as task, pick.n
    ),
    opened as (
      insert into public.task_attempts
        (system_id, task_id, attempt, project, worker, epoch, claimed_at, lease_expires_at)
      select p_system, (c.task).id, (c.task).attempt, (c.task).project, p_worker, p_epoch, at, expires from claimed as c
    ),
    served as (
      update public.projects as p
      set turn = newest.turn + last.n
      from (select pick.name, max(pick.n) as n from pick group by pick.name) as last,
        (select max(q.turn) as turn from public.projects as q where q.system_id = p_system) as newest
      -- The only one that was served, and the last one before: it is last already.
      where p.system_id = p_system and p.name = last.name
        and not (p.turn = newest.turn and p.turn > 0 and (select count(distinct pick.name) from pick) = 1)
    )
    select (c.task).*, expires from claimed as c order by c.n;
    get diagnostics found_now = row_count;
    exit when found_now = 0;
    room := room - found_now;
  end loop;
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;
comment on function public.tasks_claim is 'Takes up to a limit of tasks under a lease, best first.';

create or replace function public.task_finish_many(
  p_system text, p_worker text, p_epoch integer, p_tasks text[], p_attempts integer[], p_outcomes text[],
  p_results text[], p_errors text[], p_retry_after_ms bigint[], p_resume_sessions text[], p_resume_for_ms bigint[]
) returns table (task_id text, attempt integer, reply text)
language plpgsql security definer set search_path = ''
  set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off'
as $$
declare
  at timestamptz;
  one record;
  running constant text := 'running';
  -- By place. An attempt that was closed here and whose task is not over goes back to the queue.
  replies text[] := array_fill(null::text, array[cardinality(p_tasks)]);
  closed_places bigint[] := '{}';
  back bigint[];
  ended text[] := '{}';
  done text;
  newest_epoch integer;
  places bigint[];
  place bigint;
begin
  done := pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('worker ' || p_worker, p_system))::text;
  select w.epoch into newest_epoch from public.workers as w where w.system_id = p_system and w.id = p_worker;
  if newest_epoch is distinct from p_epoch or p_epoch is null then
    perform ccm.fence(p_system, p_worker, p_epoch);
  end if;
  at := ccm.now();
  done := pg_catalog.set_config('ccm.step', 'on', true);
  -- One success, which most calls are: two plain statements cost less than one of two parts.
  if p_outcomes = array['succeeded'] then
    update public.task_attempts as a set ended_at = at, outcome = 'succeeded', error = p_errors[1]
    where a.task_id = any (array[p_tasks[1]]) and a.system_id || '' = p_system and a.attempt = p_attempts[1]
      and a.worker = p_worker and a.ended_at is null;
    if found then
      update public.tasks as t set
        status = 'succeeded', resume_worker = null, resume_until = null, claude_session_id = null, error = null,
        result = case when octet_length(p_results[1]) > 1048576 then '{"truncated": true}' else p_results[1] end::jsonb,
        finished_at = at
      where t.system_id = p_system and t.id = p_tasks[1] and t.attempt = p_attempts[1] and t.status = running;
      if found then
        done := pg_catalog.set_config('ccm.step', '', true);
        return query select p_tasks[1], p_attempts[1], 'succeeded';
        return;
      end if;
    end if;
  -- Successes end a task whatever else is known of it.
  elsif p_outcomes <@ array['succeeded'] then
    with closed as (
      update public.task_attempts as a set ended_at = at, outcome = 'succeeded', error = asked.error
      from unnest(p_tasks, p_attempts, p_results, p_errors) with ordinality as asked (task_id, attempt, result, error, n)
      where a.task_id = any (array[asked.task_id]) and a.system_id || '' = p_system and a.attempt = asked.attempt
        and a.worker = p_worker and a.ended_at is null
      returning asked.*
    ),
    over as (
      update public.tasks as t set
        status = 'succeeded', resume_worker = null, resume_until = null, claude_session_id = null, error = null,
        result = case when octet_length(c.result) > 1048576 then '{"truncated": true}' else c.result end::jsonb,
        finished_at = at
      from closed as c
      where t.system_id = p_system and t.id = c.task_id and t.attempt = c.attempt and t.status = running
      returning c.n
    )
    select array_agg(o.n) into places from over as o;
    if cardinality(places) = cardinality(p_tasks) then
      done := pg_catalog.set_config('ccm.step', '', true);
      return query select a.task_id, a.attempt, 'succeeded' from unnest(p_tasks, p_attempts) as a (task_id, attempt);
      return;
    end if;
    foreach place in array coalesce(places, '{}') loop replies[place] := 'succeeded'; end loop;
  end if;
  for one in
    with closed as (
      update public.task_attempts as a set ended_at = at, outcome = asked.outcome, error = asked.error
      from unnest(p_tasks, p_attempts, p_outcomes, p_results, p_errors) with ordinality
        as asked (task_id, attempt, outcome, result, error, n)
      where a.task_id = any (array[asked.task_id]) and a.system_id || '' = p_system and a.attempt = asked.attempt
        and a.worker = p_worker and a.ended_at is null
      returning asked.*
    ),
    over as (
      update public.tasks as t set
        status = case
          when c.outcome in ('succeeded', 'cancelled') then c.outcome
          when c.outcome = 'failed_permanent' or not t.cancel_requested then 'failed' else 'cancelled' end,
        failures = t.failures + case when c.outcome in ('failed', 'failed_permanent') then 1 else 0 end,
        releases = t.releases + case when c.outcome = 'released' then 1 else 0 end,
        resume_worker = null, resume_until = null, claude_session_id = null,
        result = case when octet_length(c.result) > 1048576 then '{"truncated": true}' else c.result end::jsonb,
        error = case when c.outcome <> 'succeeded' then coalesce(
          case when c.outcome = 'cancelled' or (c.outcome <> 'failed_permanent' and t.cancel_requested) then t.cancel_reason end,
          c.error, pg_catalog.format('The attempt ended: %s.', c.outcome)) end,
        finished_at = at
      from closed as c
      where t.system_id = p_system and t.id = c.task_id and t.attempt = c.attempt and t.status = running
        and (c.outcome in ('succeeded', 'cancelled', 'failed_permanent') or t.cancel_requested
          or (c.outcome = 'failed' and t.failures + 1 >= 3))
      returning c.n, t.id, t.status
    )
    select o.n, o.id, o.status from over as o union all select c.n, null, null from closed as c
  loop
    if one.status is null then
      closed_places := closed_places || one.n;
    else
      replies[one.n] := one.status;
      if one.status <> 'succeeded' then ended := ended || one.id; end if;
    end if;
  end loop;

  select array_agg(c.n) into back from unnest(closed_places) as c (n) where replies[c.n] is null;
  if back is not null then
    for one in
      update public.tasks as t set
        status = 'queued',
        failures = t.failures + case when b.outcome = 'failed' then 1 else 0 end,
        releases = t.releases + case when b.outcome = 'released' then 1 else 0 end,
        worker = null,
        scheduled_at = at + case
          when b.retry_after_ms is null then ccm.backoff(case when b.outcome = 'released' then t.releases else t.failures end)
          else greatest(b.retry_after_ms, 0) * interval '1 millisecond' end,
        resume_worker = case when b.session is not null then p_worker end,
        resume_until = case when b.session is not null then at + greatest(b.for_ms, 0) * interval '1 millisecond' end,
        claude_session_id = b.session
      from (
        select p_tasks[k.n] as task_id, p_attempts[k.n] as attempt, p_outcomes[k.n] as outcome,
          p_retry_after_ms[k.n] as retry_after_ms, p_resume_sessions[k.n] as session, p_resume_for_ms[k.n] as for_ms, k.n
        from unnest(back) as k (n)
      ) as b
      where t.system_id = p_system and t.id = b.task_id and t.attempt = b.attempt and t.status = running
      returning b.n
    loop
      replies[one.n] := 'queued';
    end loop;
  end if;
  if ended <> '{}' then perform ccm.cancel_dependents(p_system, ended); end if;
  perform pg_catalog.set_config('ccm.step', '', true);

  if array_position(replies, null) is null then
    return query select a.task_id, a.attempt, a.reply
    from unnest(p_tasks, p_attempts, replies) with ordinality as a (task_id, attempt, reply, n) order by a.n;
    return;
  end if;
  return query
  select asked.task_id, asked.attempt, coalesce(asked.reply, (
    select case
      when a.worker <> p_worker then 'not_yours' when a.outcome = asked.outcome then 'duplicate' else 'stale' end
    from public.task_attempts as a
    where a.system_id = p_system and a.task_id = asked.task_id and a.attempt = asked.attempt), 'unknown')
  from unnest(p_tasks, p_attempts, p_outcomes, replies) with ordinality as asked (task_id, attempt, outcome, reply, n)
  order by asked.n;
end $$;
comment on function public.task_finish_many is 'Takes reports, as task_finish does, in their order.';

create or replace function public.tasks_mine(p_system text, p_worker text, p_epoch integer) returns setof ccm.task_rows
language plpgsql security definer set search_path = ''
as $$
begin
  -- Asked after an answer got lost: a claim that is still under way must be over first.
  perform ccm.fence(p_system, p_worker, p_epoch, true);
  return query
  select t.* from ccm.task_rows as t
  where t.system_id = p_system and t.status = 'running' and t.worker = p_worker
    and t.id = any (array(
      select a.task_id from public.task_attempts as a
      where a.system_id = p_system and a.outcome is null and a.worker = p_worker))
  order by t.id;
end $$;
comment on function public.tasks_mine is 'Running tasks of this worker, under whatever epoch: for adoption.';

create or replace function public.tasks_reap(p_system text, p_grace_ms bigint, p_limit integer) returns setof ccm.task_rows
language plpgsql security definer set search_path = ''
as $$
declare
  at timestamptz := ccm.now();
  moved text[];
  ended text[];
begin
  perform pg_catalog.set_config('ccm.step', 'on', true);
  with due as materialized (
    -- A row that somebody is renewing or finishing right now is skipped, and re-checked where it was free.
    select late.* from public.projects as p cross join lateral (
      select a.task_id, a.attempt, a.worker from public.task_attempts as a
      where a.system_id = p_system and a.project = p.name and a.outcome is null
        and a.lease_expires_at <= at - p_grace_ms * interval '1 millisecond'
      order by a.lease_expires_at limit p_limit for update skip locked
    ) as late
    where p.system_id = p_system limit p_limit
  ),
  next as (
    select due.*,
      case when t.cancel_requested then 'cancelled' when t.lost_leases + 1 >= 3 then 'dead' else 'queued' end as status,
      case when not t.cancel_requested and t.lost_leases + 1 >= 3
        then pg_catalog.format('Its worker was lost %s times; the last one was %s.', t.lost_leases + 1, due.worker)
        else coalesce(t.cancel_reason, pg_catalog.format('Its worker %s was lost.', due.worker)) end as why
    from due join public.tasks as t on t.system_id = p_system and t.id = due.task_id
  ),
  closed as (
    update public.task_attempts as a set ended_at = at, outcome = 'lost', error = next.why
    from next where a.task_id = any (array[next.task_id]) and a.system_id || '' = p_system and a.attempt = next.attempt
  ),
  taken as (
    update public.tasks as t set
      status = next.status,
      lost_leases = t.lost_leases + 1,
      scheduled_at = case when next.status = 'queued' then at else t.scheduled_at end,
      worker = case when next.status = 'queued' then null else t.worker end,
      resume_worker = null, resume_until = null, claude_session_id = null,
      error = case when next.status <> 'queued' then next.why end,
      finished_at = case when next.status <> 'queued' then at end
    from next
    where t.system_id = p_system and t.id = next.task_id and t.attempt = next.attempt and t.status = 'running'
    returning t.id, t.status
  )
  select array_agg(t.id), array_agg(t.id) filter (where t.status <> 'queued') into moved, ended from taken as t;
  if ended is not null then perform ccm.cancel_dependents(p_system, ended); end if;
  perform pg_catalog.set_config('ccm.step', '', true);
  return query select t.* from ccm.task_rows as t where t.system_id = p_system and t.id = any (moved) order by t.id;
end $$;
comment on function public.tasks_reap is 'Takes back leases that ended longer ago than the grace; answers the tasks it moved.';

create or replace function public.tasks_count(p_system text, p_status text) returns integer
language sql stable security definer set search_path = ''
as $$
  select case p_status
    when 'running' then (select count(*) from public.task_attempts as a where a.system_id = p_system and a.outcome is null)
    when 'queued' then (select count(*) from public.tasks as t where t.system_id = p_system and t.status = 'queued')
    else (select count(*) from public.tasks as t where t.system_id = p_system and t.status = p_status)
  end::integer
$$;
comment on function public.tasks_count is 'How many tasks have this status.';

create or replace function public.tasks_page(
  p_system text, p_status text, p_projects text[], p_sort text, p_after_key bigint, p_after_id text, p_limit integer
) returns setof jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  kind text := pg_catalog.ltrim(p_sort, '-');
  down boolean := p_sort like '-%';
  direction text := case when p_sort like '-%' then 'desc' else 'asc' end;
  key text := case kind when 'priority' then 'priority' when 'finished_at' then 'finished_at' end;
  conditions text := 't.system_id = $1';
begin
  if kind not in ('created_at', 'priority', 'finished_at') then
    raise exception 'There is no order %.', p_sort using errcode = '22023';
  end if;
  if kind = 'priority' then conditions := conditions || ' and t.status = ''queued'''; end if;
  if kind = 'finished_at' then conditions := conditions || ' and t.finished_at is not null'; end if;
  if p_status is not null then conditions := conditions || ' and t.status = $2'; end if;
  if p_status = 'running' then
    conditions := conditions || ' and t.id = any (array(
      select r.task_id from public.task_attempts as r where r.system_id = $1 and r.outcome is null))';
  end if;
  if p_projects is not null then conditions := conditions || ' and t.project = any ($3)'; end if;
  if p_after_id is not null then
    conditions := conditions || case kind
      when 'created_at' then ' and t.id %1$s $5'
      when 'priority' then ' and (t.priority, t.id) %1$s ($4, $5)'
      else ' and (t.finished_at, t.id) %1$s (timestamptz ''epoch'' + $4 * interval ''1 millisecond'', $5)'
    end;
  end if;
  -- Planned for these very values: one plan for all would read every task of the system.
  return query execute pg_catalog.format(
    'select pg_catalog.to_jsonb(listed) from (
       select t.id, t.project, pg_catalog.left(t.prompt, 200) as prompt, t.role, t.model, t.priority, t.timeout_s,
         t.permission_mode, t.allowed_tools, t.disallowed_tools, t.dedupe_key, t.depends_on, t.labels, t.max_tokens,
         t.max_cost_usd, t.in_place, t.source, t.only_worker, t.status, t.attempt, t.worker, t.failures, t.lost_leases,
         t.scheduled_at, t.resume_worker, t.resume_until, t.claude_session_id, t.cancel_requested, a.lease_expires_at,
         t.error, t.created_at, t.started_at, t.finished_at
       from public.tasks as t
         left join public.task_attempts as a
           on a.system_id = t.system_id and a.task_id = t.id and a.attempt = t.attempt and a.outcome is null
       where ' || conditions || '
       order by ' || coalesce('t.' || key || ' %2$s, ', '') || 't.id %2$s limit $6) as listed',
    case when down then '<' else '>' end, direction)
  using p_system, p_status, p_projects, p_after_key, p_after_id, p_limit;
end $$;
comment on function public.tasks_page is 'Tasks without results and with the beginnings of their prompts, in an order; after: the place to page on from.';

create function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000008';
comment on function public.queue_version is 'The newest migration of ccm that is in this database.';

revoke execute on function ccm.after_task_update, ccm.refuse_new_keys from public, anon, authenticated, service_role;
revoke execute on function
  public.tasks_claim, public.task_finish_many, public.tasks_mine, public.tasks_reap, public.tasks_count,
  public.tasks_page, public.queue_version
from public, anon, authenticated, service_role;
grant execute on function
  public.tasks_claim, public.task_finish_many, public.tasks_mine, public.tasks_reap, public.tasks_count,
  public.tasks_page, public.queue_version
to service_role;
