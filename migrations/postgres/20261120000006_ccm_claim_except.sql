-- A claim may leave tasks out by their ids: their directory is taken on that worker, or their model has reached its
-- usage limit. The rest is as it was; a function cannot be given a further argument.
drop function public.tasks_claim(text, text, integer, integer, bigint, text[], text[], text[]);

create function public.tasks_claim(
  p_system text, p_worker text, p_epoch integer, p_limit integer, p_lease_ms bigint,
  p_projects text[], p_roles text[], p_labels text[], p_except text[] default '{}'
) returns setof ccm.task_rows
language plpgsql security definer set search_path = ''
  set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off'
as $$
declare
  room integer := least(p_limit, 1000);
  at timestamptz;
  expires timestamptz;
  found_now integer;
  queued constant text := 'queued';
  only_project text;
  is_last boolean;
begin
  perform ccm.fence(p_system, p_worker, p_epoch);
  if room <= 0 or (select w.draining from public.workers as w where w.system_id = p_system and w.id = p_worker) then
    return;
  end if;
  -- A worker of one project without a limit: nothing is counted and nobody takes turns, so claims need not wait for
  -- each other. A limit that is set now waits for this claim, and one that was set just before leaves it empty.
  select case when count(*) = 1 and bool_and(p.max_running is null) then min(p.name) end,
    coalesce(min(p.turn) > 0 and min(p.turn) = (select max(q.turn) from public.projects as q where q.system_id = p_system), false)
  into only_project, is_last
  from public.projects as p
  where p.system_id = p_system and p.name = any (p_projects) and not p.paused;
  if only_project is not null then
    perform pg_catalog.pg_advisory_xact_lock_shared(ccm.lock_key('claim', p_system));
    at := ccm.now();
    expires := at + p_lease_ms * interval '1 millisecond';
    perform pg_catalog.set_config('ccm.step', 'on', true);
    return query
    with pick as materialized (
      select t.id from public.tasks as t
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
    claimed as (
      update public.tasks as t
      set status = 'running', attempt = t.attempt + 1, worker = p_worker, started_at = coalesce(t.started_at, at),
        claude_session_id = case when t.resume_worker = p_worker then t.claude_session_id end,
        resume_worker = case when t.resume_worker = p_worker then t.resume_worker end,
        resume_until = case when t.resume_worker = p_worker then t.resume_until end
      from pick
      where t.system_id = p_system and t.id = pick.id and t.status = queued
      returning t.*
    ),
    opened as (
      insert into public.task_attempts (system_id, task_id, attempt, worker, epoch, claimed_at, lease_expires_at)
      select p_system, c.id, c.attempt, p_worker, p_epoch, at, expires from claimed as c
    )
    select c.*, expires from claimed as c order by c.priority desc, c.scheduled_at, c.created_at, c.id;
    -- For workers of several projects it has had its turn.
    if found and not is_last then
      update public.projects as p set turn = newest.turn + 1
      from (select max(q.turn) as turn from public.projects as q where q.system_id = p_system) as newest
      where p.system_id = p_system and p.name = only_project and (p.turn < newest.turn or p.turn = 0);
    end if;
    perform pg_catalog.set_config('ccm.step', '', true);
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
revoke execute on function public.tasks_claim from public, anon, authenticated, service_role;
grant execute on function public.tasks_claim to service_role;
