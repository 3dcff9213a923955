-- The queue's functions, each one atomic step. ccm.step is 'on' only while one of them writes; where one fails,
-- its transaction takes that back too. (A function's own SET clause would need a superuser.) Plan settings: tables grow from nothing while plans are kept, and
-- a plan made over an empty table would read a full one from end to end. For the same reason rows that are known by
-- their key are asked for their status with a variable or by ended_at: written out, the planner would take an index
-- made for that status and read all of it. And attempts are joined by `any (array[id])` and a system that no
-- index sees: that leaves a look-up for each as the one way. A plain `=` let a plan made over an empty table read all
-- attempts there are for each report.

-- Throws PT409 unless this is the newest process of the worker; it stays that until this transaction ends. `alone`
-- waits for every other call of the worker that has begun, and lets none begin until then.
create function ccm.fence(p_system text, p_worker text, p_epoch integer, alone boolean default false) returns void
language plpgsql set search_path = ''
as $$
declare
  newest integer;
begin
  if alone then
    perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('worker ' || p_worker, p_system));
  else
    perform pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('worker ' || p_worker, p_system));
  end if;
  select w.epoch into newest from public.workers as w where w.system_id = p_system and w.id = p_worker;
  if newest is null or p_epoch is null then
    raise sqlstate 'PT409' using message = pg_catalog.format('Worker %s has not registered with the queue yet.', p_worker);
  end if;
  if newest <> p_epoch then
    raise sqlstate 'PT409' using message = pg_catalog.format('Another process has registered as worker %s since; this one may not write any more.', p_worker);
  end if;
end $$;

create function public.configure_system(p_system text, p_max_queued integer, p_default_project text) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.systems as s (id, max_queued, default_project)
  values (p_system, coalesce(p_max_queued, 100), p_default_project)
  on conflict (id) do update set
    max_queued = coalesce(p_max_queued, s.max_queued),
    default_project = coalesce(p_default_project, s.default_project);
end $$;
comment on function public.configure_system is 'Makes a system or changes what is given of it.';

create function public.configure_project(p_system text, p_project text, p_max_running integer, p_paused boolean) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  if p_max_running < 1 then
    raise sqlstate 'PT400' using message = pg_catalog.format('max_running of project %s must be a whole number above 0, or none.', p_project);
  end if;
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('claim', p_system));
  perform pg_catalog.set_config('ccm.step', 'on', true);
  insert into public.projects (system_id, name, max_running, paused)
  values (p_system, p_project, p_max_running, coalesce(p_paused, false))
  on conflict (system_id, name) do update set max_running = excluded.max_running, paused = excluded.paused;
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;
comment on function public.configure_project is 'Makes a project or sets its limit and whether it is paused.';

create function public.worker_register(p_system text, p_worker text, p_info text) returns integer
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
  insert into public.projects (system_id, name)
  select p_system, p.name from jsonb_object_keys(coalesce(nullif(info -> 'projects', 'null'), '{}')) as p (name)
  on conflict do nothing;
  perform pg_catalog.set_config('ccm.step', '', true);
  return answer;
end $$;
comment on function public.worker_register is 'Makes the caller the worker and answers its epoch; older epochs are refused from now on.';

create function public.task_insert(
  p_system text, p_project text, p_prompt text, p_role text, p_model text, p_priority integer, p_timeout_s integer,
  p_permission_mode text, p_allowed_tools text[], p_disallowed_tools text[], p_dedupe_key text, p_depends_on text[],
  p_scheduled_at bigint, p_labels text[], p_max_tokens bigint, p_max_cost_usd double precision, p_in_place boolean,
  p_source text, p_only_worker text, p_request_key text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  task ccm.task_rows;
begin
  -- The same lock as the trigger takes: between the look and the insert no equal key comes in.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('insert', p_system));
  if p_request_key is not null then
    select * into task from ccm.task_rows as t where t.system_id = p_system and t.request_key = p_request_key;
    if found then return jsonb_build_object('inserted', true, 'task', to_jsonb(task)); end if;
  end if;
  if p_dedupe_key is not null then
    select * into task from ccm.task_rows as t
    where t.system_id = p_system and t.dedupe_key = p_dedupe_key and t.status in ('queued', 'running');
    if found then return jsonb_build_object('inserted', false, 'task', to_jsonb(task)); end if;
  end if;
  -- A worker that asks for it has a directory for it.
  insert into public.projects (system_id, name) select p_system, p_project
  where exists (select from public.systems as s where s.id = p_system) on conflict do nothing;
  insert into public.tasks (
    system_id, project, prompt, role, model, priority, timeout_s, permission_mode, allowed_tools, disallowed_tools,
    dedupe_key, depends_on, scheduled_at, labels, max_tokens, max_cost_usd, in_place, source, only_worker,
    request_key
  ) values (
    p_system, p_project, p_prompt, p_role, p_model, p_priority, p_timeout_s, p_permission_mode, p_allowed_tools,
    p_disallowed_tools, p_dedupe_key, p_depends_on,
    timestamptz '1970-01-01Z' + p_scheduled_at * interval '1 millisecond', p_labels, p_max_tokens, p_max_cost_usd,
    p_in_place, p_source, p_only_worker, p_request_key
  ) returning *, null::timestamptz into task;
  return jsonb_build_object('inserted', true, 'task', to_jsonb(task));
end $$;
comment on function public.task_insert is 'Adds a task for a program; with a dedupe key that is alive it answers that task.';

create function public.tasks_claim(
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
    done := pg_catalog.set_config('ccm.step', 'on', true);
    return query
    -- The rows are locked as they are picked, so each one is updated.
    with pick as materialized (
      select t.id, t.attempt + 1 as attempt from public.tasks as t
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
    ),
    opened as (
      insert into public.task_attempts (system_id, task_id, attempt, worker, epoch, claimed_at, lease_expires_at)
      select p_system, pick.id, pick.attempt, p_worker, p_epoch, at, expires from pick
    ),
    claimed as (
      update public.tasks as t
      set status = 'running', attempt = pick.attempt, worker = p_worker, started_at = coalesce(t.started_at, at),
        claude_session_id = case when t.resume_worker = p_worker then t.claude_session_id end,
        resume_worker = case when t.resume_worker = p_worker then t.resume_worker end,
        resume_until = case when t.resume_worker = p_worker then t.resume_until end
      from pick
      where t.system_id = p_system and t.id = pick.id
      returning t.*
    )
    select c.*, expires from claimed as c order by c.priority desc, c.scheduled_at, c.created_at, c.id;
    -- For workers of several projects it has had its turn.
    if found and not is_last then
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
            select count(*) from public.tasks as t
            where t.system_id = p_system and t.project = p.name and t.status = 'running')::integer) end as room
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
      insert into public.task_attempts (system_id, task_id, attempt, worker, epoch, claimed_at, lease_expires_at)
      select p_system, (c.task).id, (c.task).attempt, p_worker, p_epoch, at, expires from claimed as c
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

create function public.tasks_heartbeat(
  p_system text, p_worker text, p_epoch integer, p_tasks text[], p_attempts integer[], p_lease_ms bigint
) returns table (task_id text, attempt integer, ok boolean, cancel boolean, expires_at timestamptz)
language plpgsql security definer set search_path = ''
  set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off'
as $$
declare
  at timestamptz;
  expires timestamptz;
  one record;
  -- By place: whether a cancel was asked of what was renewed; null for what was not.
  cancels boolean[] := array_fill(null::boolean, array[cardinality(p_tasks)]);
begin
  perform ccm.fence(p_system, p_worker, p_epoch);
  at := ccm.now();
  expires := at + p_lease_ms * interval '1 millisecond';
  perform pg_catalog.set_config('ccm.step', 'on', true);
  update public.workers as w set seen_at = at, running = cardinality(p_tasks)
  where w.system_id = p_system and w.id = p_worker;
  for one in
    with renewed as (
      update public.task_attempts as a set lease_expires_at = expires
      from unnest(p_tasks, p_attempts) with ordinality as asked (task_id, attempt, n)
      where a.task_id = any (array[asked.task_id]) and a.system_id || '' = p_system and a.attempt = asked.attempt
        and a.worker = p_worker and a.ended_at is null
      returning a.task_id, asked.n
    )
    select r.n, (select t.cancel_requested from public.tasks as t where t.system_id = p_system and t.id = r.task_id) as cancel
    from renewed as r
  loop
    cancels[one.n] := one.cancel;
  end loop;
  perform pg_catalog.set_config('ccm.step', '', true);
  return query
  select a.task_id, a.attempt, a.cancel is not null, coalesce(a.cancel, false), case when a.cancel is not null then expires end
  from unnest(p_tasks, p_attempts, cancels) with ordinality as a (task_id, attempt, cancel, n)
  order by a.n;
end $$;
comment on function public.tasks_heartbeat is 'Renews leases. ok = false: end the agent and write nothing more for that attempt.';

-- Cancels what waits for these tasks, and what waits for that.
create function ccm.cancel_dependents(p_system text, p_ended text[]) returns void
language plpgsql set search_path = ''
as $$
declare
  ended text[] := p_ended;
begin
  while cardinality(ended) > 0 loop
    with waiting as (
      select distinct on (t.id) t.id,
        pg_catalog.format('Task %s, which it depends on, %s.', e.id, ccm.ended_as(e.status)) as reason
      from public.tasks as e
        join public.tasks as t on t.depends_on @> array[e.id] and t.depends_on <> '{}'
          and t.system_id = e.system_id and t.status = 'queued'
      where e.system_id = p_system and e.id = any (ended)
      order by t.id, e.id
    ),
    cancelled as (
      update public.tasks as t
      set status = 'cancelled', cancel_requested = true, cancel_reason = waiting.reason, error = waiting.reason,
        finished_at = ccm.now()
      from waiting
      where t.system_id = p_system and t.id = waiting.id and t.status = 'queued'
      returning t.id
    )
    select coalesce(array_agg(c.id), '{}') into ended from cancelled as c;
  end loop;
end $$;

-- 5 s, doubled for each try before, +-25 %, at most an hour.
create function ccm.backoff(p_tries integer) returns interval
language sql volatile set search_path = ''
as $$
  select pg_catalog.round(least(
    5000 * pg_catalog.power(2, least(p_tries, 20)) * (0.75 + pg_catalog.random() * 0.5), 3600000)) * interval '1 millisecond'
$$;

create function public.task_finish_many(
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
  -- Successes, which most reports are, end a task whatever else is known of it.
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

create function public.task_finish(
  p_system text, p_worker text, p_epoch integer, p_task text, p_attempt integer, p_outcome text, p_result text,
  p_error text, p_retry_after_ms bigint, p_resume_session text, p_resume_for_ms bigint
) returns text
language sql security definer set search_path = ''
as $$
  select f.reply from public.task_finish_many(
    p_system, p_worker, p_epoch, array[p_task], array[p_attempt], array[p_outcome], array[p_result], array[p_error],
    array[p_retry_after_ms], array[p_resume_session], array[p_resume_for_ms]) as f
$$;
comment on function public.task_finish is 'Takes the report about an attempt: answers the new status, or duplicate, stale, not_yours, unknown.';

create function public.tasks_mine(p_system text, p_worker text, p_epoch integer) returns setof ccm.task_rows
language plpgsql security definer set search_path = ''
as $$
begin
  -- Asked after an answer got lost: a claim that is still under way must be over first.
  perform ccm.fence(p_system, p_worker, p_epoch, true);
  return query
  select t.* from ccm.task_rows as t
  where t.system_id = p_system and t.status = 'running' and t.worker = p_worker order by t.id;
end $$;
comment on function public.tasks_mine is 'Running tasks of this worker, under whatever epoch: for adoption.';

create function public.tasks_reap(p_system text, p_grace_ms bigint, p_limit integer) returns setof ccm.task_rows
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
    select a.task_id, a.attempt, a.worker from public.task_attempts as a
    where a.system_id = p_system and a.outcome is null
      and a.lease_expires_at <= at - p_grace_ms * interval '1 millisecond'
    order by a.lease_expires_at limit p_limit for update skip locked
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

create function public.task_cancel(p_system text, p_task text, p_reason text) returns text
language plpgsql security definer set search_path = ''
as $$
declare
  task public.tasks;
  why text := coalesce(nullif(pg_catalog.btrim(p_reason), ''), 'Cancelled.');
begin
  if ccm.is_stranger(p_system) then return 'unknown'; end if;
  select * into task from public.tasks as t where t.system_id = p_system and t.id = p_task for update;
  if not found then return 'unknown'; end if;
  if task.status = 'cancelled' then return 'cancelled'; end if;
  if task.status = 'running' then
    perform pg_catalog.set_config('ccm.step', 'on', true);
    update public.tasks as t set cancel_requested = true, cancel_reason = coalesce(t.cancel_reason, why)
    where t.system_id = p_system and t.id = p_task and not t.cancel_requested;
    perform pg_catalog.set_config('ccm.step', '', true);
    return 'requested';
  end if;
  if task.status <> 'queued' then return 'already_final'; end if;
  perform pg_catalog.set_config('ccm.step', 'on', true);
  update public.tasks as t
  set status = 'cancelled', cancel_requested = true, cancel_reason = why, error = why, finished_at = ccm.now()
  where t.system_id = p_system and t.id = p_task;
  perform ccm.cancel_dependents(p_system, array[p_task]);
  perform pg_catalog.set_config('ccm.step', '', true);
  return 'cancelled';
end $$;
comment on function public.task_cancel is 'Ends a task: at once where it waits, at its worker''s next heartbeat where it runs.';

create function public.task_retry(p_system text, p_task text) returns text
language plpgsql security definer set search_path = ''
as $$
declare
  task public.tasks;
  other record;
begin
  -- As an insert: no equal key may come in between, and no dependency may end unseen.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('insert', p_system));
  select * into task from public.tasks as t where t.system_id = p_system and t.id = p_task for update;
  if not found then return 'unknown'; end if;
  if task.status = 'queued' then return 'queued_already'; end if;
  if task.status in ('running', 'succeeded') then return task.status; end if;
  if task.dedupe_key is not null then
    select t.id, t.status into other from public.tasks as t
    where t.system_id = p_system and t.dedupe_key = task.dedupe_key and t.status in ('queued', 'running');
    if found then
      return pg_catalog.format('refused: Task %s has the same key and is %s.', other.id, other.status);
    end if;
  end if;
  perform from public.tasks as t
  where t.system_id = p_system and t.id = any (task.depends_on) order by t.id for share;
  for other in
    select d.id, coalesce(ccm.ended_as(o.status), case when o.id is null then 'is not kept any more' end) as ended
    from unnest(task.depends_on) with ordinality as d (id, n)
      left join public.tasks as o on o.system_id = p_system and o.id = d.id
    order by d.n
  loop
    if other.ended is not null then
      return pg_catalog.format('refused: It depends on task %s, which %s: it could never start.', other.id, other.ended);
    end if;
  end loop;
  perform pg_catalog.set_config('ccm.step', 'on', true);
  update public.tasks as t set
    status = 'queued', failures = 0, lost_leases = 0, releases = 0, cancel_requested = false, cancel_reason = null,
    result = null, error = null, worker = null, finished_at = null, scheduled_at = ccm.now(),
    resume_worker = null, resume_until = null, claude_session_id = null
  where t.system_id = p_system and t.id = p_task;
  perform pg_catalog.set_config('ccm.step', '', true);
  return 'queued';
end $$;
comment on function public.task_retry is 'Puts a failed, cancelled or dead task back with fresh budgets; refused: and a sentence where it cannot.';

create function public.tasks_prune(p_system text, p_older_than_ms bigint, p_limit integer) returns integer
language plpgsql security definer set search_path = ''
as $$
declare
  at timestamptz := ccm.now();
  before timestamptz := at - p_older_than_ms * interval '1 millisecond';
  gone text[];
  met text[];
begin
  -- No task comes in that depends on one of these.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('insert', p_system));
  perform pg_catalog.set_config('ccm.step', 'on', true);
  with pruned as (
    delete from public.tasks as t
    where t.system_id = p_system and t.id in (
      select o.id from public.tasks as o
      where o.system_id = p_system and o.finished_at < before
        and (o.dedupe_key is null or o.finished_at < at - interval '7 days')
        and not exists (
          select from public.tasks as l
          where l.depends_on @> array[o.id] and l.depends_on <> '{}' and l.system_id = p_system
            and l.status in ('queued', 'running'))
      order by o.id limit p_limit)
    returning t.id, t.status
  )
  select array_agg(p.id), array_agg(p.id) filter (where p.status = 'succeeded') into gone, met from pruned as p;
  -- What has succeeded and is gone stays met for those that may be tried again.
  if met is not null then
    update public.tasks as t
    set depends_on = array(select d.id from unnest(t.depends_on) with ordinality as d (id, n) where d.id <> all (met) order by d.n)
    where t.depends_on && met and t.depends_on <> '{}' and t.system_id = p_system;
  end if;
  perform pg_catalog.set_config('ccm.step', '', true);
  return coalesce(cardinality(gone), 0);
end $$;
comment on function public.tasks_prune is 'Deletes tasks that ended longer ago than this; keeps what a living task depends on, and keys for 7 days.';

create function public.task_get(p_system text, p_task text) returns setof ccm.task_rows
language sql stable security definer set search_path = ''
as $$ select t.* from ccm.task_rows as t where t.system_id = p_system and t.id = p_task $$;
comment on function public.task_get is 'One task.';

create function public.tasks_list(p_system text, p_status text, p_project text, p_before text, p_limit integer)
returns setof ccm.task_rows
language sql stable security definer set search_path = ''
as $$
  select t.* from ccm.task_rows as t
  where t.system_id = p_system and (p_status is null or t.status = p_status)
    and (p_project is null or t.project = p_project) and (p_before is null or t.id < p_before)
  order by t.id desc limit p_limit
$$;
comment on function public.tasks_list is 'Tasks, newest first; before: an id to page on from.';

create function public.tasks_count(p_system text, p_status text) returns integer
language sql stable security definer set search_path = ''
as $$ select count(*)::integer from public.tasks as t where t.system_id = p_system and t.status = p_status $$;
comment on function public.tasks_count is 'How many tasks have this status.';

create function public.tasks_by_prefix(p_system text, p_prefix text) returns setof text
language sql stable security definer set search_path = ''
as $$
  -- A range and no pattern: no character of the prefix is special, and the index serves it.
  select t.id from public.tasks as t
  where t.system_id = p_system and t.id >= p_prefix and t.id < p_prefix || pg_catalog.chr(1114111)
  order by t.id limit 2
$$;
comment on function public.tasks_by_prefix is 'At most two ids that begin like this.';

create function public.task_dependencies(p_system text, p_task text) returns table (id text, status text)
language sql stable security definer set search_path = ''
as $$
  select o.id, o.status
  from public.tasks as t
    cross join lateral unnest(t.depends_on) with ordinality as d (id, n)
    join public.tasks as o on o.system_id = p_system and o.id = d.id
  where t.system_id = p_system and t.id = p_task order by d.n
$$;
comment on function public.task_dependencies is 'What a task waits for or waited for.';
