-- What a claim of one and its report cost, counted in instructions of the server (valgrind, PostgreSQL 18): a call of one
-- is hardly busy with rows, it makes plans and expressions ready, 1.93 million instructions for both. So the fewer tables,
-- joins and conditions a statement names, reached or not, and the fewer expressions stand between statements, the
-- cheaper: 1.52 million with what follows.

create function ccm.are_met(p_system text, p_tasks text[]) returns boolean
language plpgsql stable set search_path = '' set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off'
as $$
begin
  return not exists (
    select from unnest(p_tasks) as d (id) left join public.tasks as o on o.system_id = p_system and o.id = d.id
    where o.status is distinct from 'succeeded');
end $$;
comment on function ccm.are_met is 'Have all of these tasks succeeded? No subquery: that is made ready at each claim, also where no task depends on one.';
create function ccm.is_open_to(
  t public.tasks, p_worker text, p_roles text[], p_labels text[], p_except text[], p_at timestamptz
) returns boolean
language sql stable
return t.id <> all (p_except)
  and (t.role is null or p_roles is null or t.role = any (p_roles))
  and t.labels <@ p_labels
  and (t.only_worker is null or t.only_worker = p_worker)
  and (t.resume_until is null or t.resume_until <= p_at or t.resume_worker = p_worker)
  and (t.depends_on = '{}' or ccm.are_met(t.system_id, t.depends_on));
comment on function ccm.is_open_to is 'May this worker have the task once it is due? Planned into the statement that asks, so it costs no call.';

-- Who reads the head of the queue checks all the rest of the page too, a hundred entries. Numbers of fixed width are
-- checked without taking each entry apart: 80,000 instructions of a claim.
drop index public.tasks_queued;
create index tasks_queued on public.tasks (
  hashtextextended(project, hashtextextended(system_id, 0)), priority desc, scheduled_at, created_at, id
) where status = 'queued';
create index tasks_waiting on public.tasks (system_id) where status = 'queued';

-- A task and an attempt are written again under the same key, as ids go up in a page just written: room for that.
alter index public.tasks_pkey set (fillfactor = 40);
alter index public.task_attempts_pkey set (fillfactor = 50);

-- The condition of a trigger is parsed and compiled anew by each statement that might fire it: 33,000 instructions. A
-- function that looks for itself costs less, and columns that a statement does not set nothing.
create or replace function ccm.refuse_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if pg_catalog.current_setting('ccm.step', true) = 'on' then return coalesce(new, old); end if;
  -- Deeper than this trigger itself: the row goes with the one it belongs to.
  if tg_op = 'DELETE' and pg_catalog.pg_trigger_depth() > 1 then return old; end if;
  raise sqlstate 'PT409' using message = pg_catalog.format('Rows of %s are written by the queue only.', tg_table_name);
end $$;
drop trigger by_hand on public.task_attempts;
create trigger by_hand before insert or update or delete on public.task_attempts
  for each statement execute function ccm.refuse_by_hand();

create function ccm.refuse_moves_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if pg_catalog.current_setting('ccm.step', true) = 'on' then return null; end if;
  raise sqlstate 'PT409' using
    message = 'Of a task only what was asked for can be edited: its status is not set by hand, nor what else the queue sets, and depends_on and source stay as inserted.',
    hint = 'select task_cancel(system, id, reason) ends a task, select task_retry(system, id) starts one again.';
end $$;
create trigger moves_by_hand before update of
  status, attempt, worker, failures, lost_leases, releases, cancel_requested, cancel_reason, resume_worker, resume_until,
  claude_session_id, result, error, created_at, started_at, finished_at, depends_on, source
on public.tasks for each statement execute function ccm.refuse_moves_by_hand();
drop trigger "After_update" on public.tasks;
create trigger "After_update" after update of
  prompt, priority, role, model, labels, scheduled_at, timeout_s, permission_mode, allowed_tools, disallowed_tools,
  in_place, max_tokens, max_cost_usd, only_worker, project
on public.tasks for each row when (current_setting('ccm.step', true) is distinct from 'on')
  execute function ccm.after_task_update();

-- Claims hold this lock together and who sets a limit holds it alone: a limit holds for every claim after it, and claims
-- that began before it have ended by then. It is taken before any row: one that had a project's row already met claims
-- that wanted to write its turn.
drop trigger before_change on public.projects;
drop function ccm.before_project_change;
create function ccm.before_limits_change() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  one text;
begin
  for one in select s.id from public.systems as s order by s.id loop
    perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('limits', one));
  end loop;
  return null;
end $$;
create trigger before_change before update of max_running, paused on public.projects
  for each statement when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.before_limits_change();
create or replace function public.configure_project(p_system text, p_project text, p_max_running integer, p_paused boolean) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  if p_max_running < 1 then
    raise sqlstate 'PT400' using message = pg_catalog.format('max_running of project %s must be a whole number above 0, or none.', p_project);
  end if;
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('limits', p_system));
  perform pg_catalog.set_config('ccm.step', 'on', true);
  insert into public.projects (system_id, name, max_running, paused)
  values (p_system, p_project, p_max_running, coalesce(p_paused, false))
  on conflict (system_id, name) do update set max_running = excluded.max_running, paused = excluded.paused;
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;
comment on function public.configure_project is 'Makes a project or sets its limit and whether it is paused.';

create or replace function public.worker_register(p_system text, p_worker text, p_info text) returns integer
language plpgsql security definer set search_path = ''
as $$
declare
  info jsonb := coalesce(nullif(p_info, ''), '{}')::jsonb;
  at timestamptz;
  answer integer;
begin
  if not exists (select from public.systems as s where s.id = p_system) then
    raise sqlstate 'PT404' using message = pg_catalog.format('There is no system "%s".', p_system);
  end if;
  -- Waits for what the older process has begun, and nothing of it begins afterwards.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('worker ' || p_worker, p_system));
  at := ccm.now();
  perform pg_catalog.set_config('ccm.step', 'on', true);
  insert into public.workers as w
    (system_id, id, epoch, host, version, capacity, roles, labels, projects, registered_at, seen_at)
  values (
    p_system, p_worker, 1, info ->> 'host', info ->> 'version', (info ->> 'capacity')::integer,
    case when jsonb_typeof(info -> 'roles') = 'array' then array(select jsonb_array_elements_text(info -> 'roles')) end,
    array(select jsonb_array_elements_text(coalesce(nullif(info -> 'labels', 'null'), '[]'))),
    coalesce(nullif(info -> 'projects', 'null'), '{}'), at, at
  )
  on conflict (system_id, id) do update set
    epoch = w.epoch + 1, host = excluded.host, version = excluded.version, capacity = excluded.capacity,
    roles = excluded.roles, labels = excluded.labels, projects = excluded.projects,
    registered_at = excluded.registered_at, seen_at = excluded.seen_at
  returning w.epoch into answer;
  -- What the worker has is this process's from now on: reports of older ones are told by it.
  update public.task_attempts as a set epoch = answer
  where a.system_id = p_system and a.worker = p_worker and a.outcome is null;
  insert into public.projects (system_id, name)
  select p_system, p.name from jsonb_object_keys(coalesce(nullif(info -> 'projects', 'null'), '{}')) as p (name)
  on conflict do nothing;
  perform pg_catalog.set_config('ccm.step', '', true);
  return answer;
end $$;
comment on function public.worker_register is 'Makes the caller the worker and answers its epoch; older epochs are refused from now on.';
select pg_catalog.set_config('ccm.step', 'on', true);
update public.task_attempts as a set epoch = w.epoch
from public.workers as w where w.system_id = a.system_id and w.id = a.worker and a.outcome is null;
select pg_catalog.set_config('ccm.step', '', true);
comment on column public.task_attempts.epoch is 'Which process of that worker has it or had it last, counted from its first registration.';

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
  is_last boolean;
  place tid;
  only_id text;
  only_attempt integer;
  places tid[];
  ids text[];
  attempts integer[];
begin
  done := pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('worker ' || p_worker, p_system))::text
    || pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('limits', p_system))::text;
  -- A worker of one project without a limit: nothing is counted and nobody takes turns, so claims need not wait for
  -- each other. Whether it is the project that was served last is null where this is not such a worker, or may not claim.
  select p.turn > 0 and not exists (select from public.projects as q where q.system_id = p_system and q.turn > p.turn)
  into is_last from public.projects as p
  where p.system_id = p_system and p.name = case when cardinality(p_projects) = 1 then p_projects[1] end
    and not p.paused and p.max_running is null
    and exists (
      select from public.workers as w
      where w.system_id = p_system and w.id = p_worker and w.epoch = p_epoch and not w.draining);
  if is_last is not null and room > 0 then
    done := pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('claim', p_system))::text;
    at := ccm.now();
    -- Three plain statements cost less than one of three parts. The rows are locked as they are picked, so they stay
    -- where they are and each one is updated.
    if room = 1 then
      select t.ctid, t.id, t.attempt + 1 into place, only_id, only_attempt from public.tasks as t
      where hashtextextended(t.project, hashtextextended(t.system_id, 0)) = hashtextextended(p_projects[1], hashtextextended(p_system, 0))
        and t.system_id = p_system and t.project = p_projects[1] and t.status = 'queued' and t.scheduled_at <= at
        and ccm.is_open_to(t, p_worker, p_roles, p_labels, p_except, at)
      order by t.priority desc, t.scheduled_at, t.created_at, t.id
      limit 1 for update skip locked;
      if not found then return; end if;
      done := pg_catalog.set_config('ccm.step', 'on', true);
      insert into public.task_attempts (system_id, task_id, attempt, project, worker, epoch, claimed_at, lease_expires_at)
      values (p_system, only_id, only_attempt, p_projects[1], p_worker, p_epoch, at, at + p_lease_ms * interval '1 millisecond');
      return query update public.tasks as t
      set status = 'running', attempt = only_attempt, worker = p_worker, started_at = coalesce(t.started_at, at),
        claude_session_id = case when t.resume_worker = p_worker then t.claude_session_id end,
        resume_worker = case when t.resume_worker = p_worker then t.resume_worker end,
        resume_until = case when t.resume_worker = p_worker then t.resume_until end
      where t.ctid = place
      returning t.*, at + p_lease_ms * interval '1 millisecond';
    else
      expires := at + p_lease_ms * interval '1 millisecond';
      select array_agg(l.place), array_agg(l.id), array_agg(l.attempt) into places, ids, attempts from (
        select t.ctid as place, t.id, t.attempt + 1 as attempt from public.tasks as t
        where hashtextextended(t.project, hashtextextended(t.system_id, 0)) = hashtextextended(p_projects[1], hashtextextended(p_system, 0))
          and t.system_id = p_system and t.project = p_projects[1] and t.status = 'queued' and t.scheduled_at <= at
          and ccm.is_open_to(t, p_worker, p_roles, p_labels, p_except, at)
        order by t.priority desc, t.scheduled_at, t.created_at, t.id
        limit room for update skip locked
      ) as l;
      if places is null then return; end if;
      done := pg_catalog.set_config('ccm.step', 'on', true);
      insert into public.task_attempts (system_id, task_id, attempt, project, worker, epoch, claimed_at, lease_expires_at)
      select p_system, l.id, l.attempt, p_projects[1], p_worker, p_epoch, at, expires from unnest(ids, attempts) as l (id, attempt);
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
    end if;
    -- For workers of several projects it has had its turn.
    if not is_last then
      update public.projects as p set turn = newest.turn + 1
      from (select max(q.turn) as turn from public.projects as q where q.system_id = p_system) as newest
      where p.system_id = p_system and p.name = p_projects[1] and (p.turn < newest.turn or p.turn = 0);
    end if;
    done := pg_catalog.set_config('ccm.step', '', true);
    return;
  end if;
  select w.epoch, w.draining into newest_epoch, draining
  from public.workers as w where w.system_id = p_system and w.id = p_worker;
  if newest_epoch is distinct from p_epoch or p_epoch is null then
    perform ccm.fence(p_system, p_worker, p_epoch);
  end if;
  if room <= 0 or draining then return; end if;

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
        where hashtextextended(t.project, hashtextextended(t.system_id, 0)) = hashtextextended(line.name, hashtextextended(p_system, 0))
          and t.system_id = p_system and t.project = line.name and t.status = 'queued' and t.scheduled_at <= at
          and ccm.is_open_to(t, p_worker, p_roles, p_labels, p_except, at)
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
  running constant text := 'running';
  done text;
begin
  done := pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('worker ' || p_worker, p_system))::text;
  at := ccm.now();
  -- One success, which most calls are: two plain statements cost less than one of two parts. An open attempt has the epoch
  -- of the newest process of its worker, so it is a fence of its own; whatever it holds back is looked at below.
  if p_outcomes = array['succeeded'] then
    done := pg_catalog.set_config('ccm.step', 'on', true);
    update public.task_attempts as a set ended_at = at, outcome = 'succeeded', error = p_errors[1]
    where a.task_id = p_tasks[1] and a.attempt = p_attempts[1] and a.system_id = p_system
      and a.worker = p_worker and a.epoch = p_epoch and a.ended_at is null;
    if found then
      update public.tasks as t set
        status = 'succeeded', resume_worker = null, resume_until = null, claude_session_id = null, error = null,
        result = case when octet_length(p_results[1]) > 1048576 then '{"truncated": true}' else p_results[1] end::jsonb,
        finished_at = at
      where t.system_id = p_system and t.id = p_tasks[1] and t.attempt = p_attempts[1] and t.status = running
      returning t.id, t.attempt, t.status into task_id, attempt, reply;
    end if;
    done := pg_catalog.set_config('ccm.step', '', true);
    if reply is not null then
      return next;
      return;
    end if;
  end if;
  -- What a call of one does not need is not set up for it.
  declare
    one record;
    -- By place. An attempt that was closed here and whose task is not over goes back to the queue.
    replies text[] := array_fill(null::text, array[cardinality(p_tasks)]);
    closed_places bigint[] := '{}';
    back bigint[];
    ended text[] := '{}';
    places bigint[];
    place bigint;
    newest_epoch integer;
  begin
    select w.epoch into newest_epoch from public.workers as w where w.system_id = p_system and w.id = p_worker;
    if newest_epoch is distinct from p_epoch or p_epoch is null then
      perform ccm.fence(p_system, p_worker, p_epoch);
    end if;
    done := pg_catalog.set_config('ccm.step', 'on', true);
    -- Successes end a task whatever else is known of it.
    if p_outcomes <@ array['succeeded'] then
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
    elsif not p_outcomes <@ array['succeeded', 'failed', 'failed_permanent', 'released', 'cancelled'] then
      raise sqlstate 'PT400' using message = 'An attempt ends as succeeded, failed, failed_permanent, released or cancelled.';
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
  end;
end $$;
comment on function public.task_finish_many is 'Takes reports, as task_finish does, in their order.';

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000015';

revoke execute on function ccm.are_met, ccm.is_open_to, ccm.refuse_moves_by_hand, ccm.before_limits_change
from public, anon, authenticated, service_role;
revoke execute on function
  public.configure_project, public.worker_register, public.tasks_claim, public.task_finish_many, public.queue_version
from public, anon, authenticated, service_role;
grant execute on function
  public.configure_project, public.worker_register, public.tasks_claim, public.task_finish_many, public.queue_version
to service_role;
