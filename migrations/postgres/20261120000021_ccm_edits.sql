-- Edits by hand while the queue is at work: what somebody changes, or holds in a transaction that is left open, is neither
-- claimed as it was before nor waited for.

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
  declare
    names text[];
    picked text[];
    held_ids text[];
    passed text[] := p_except;
    wider integer := 0;
  begin
    -- One priority a round, because each round changes whose turn it is in the next.
    while room > 0 loop
      with line as materialized (
        select p.name, p.turn,
          case when p.max_running is null then room
            else least(room, p.max_running - (
              select count(*) from public.task_attempts as a
              where a.system_id = p_system and a.project = p.name and a.outcome is null)::integer) end as free
        from public.projects as p
        where p.system_id = p_system and p.name = any (p_projects) and not p.paused
      ),
      candidate as materialized (
        select line.name, line.turn, line.free, c.*,
          max(c.priority) over () as best,
          row_number() over (partition by line.name order by c.priority desc, c.scheduled_at, c.created_at, c.id) as n
        from line cross join lateral (
          select t.id, t.priority, t.scheduled_at, t.created_at
          from public.tasks as t
          where hashtextextended(t.project, hashtextextended(t.system_id, 0)) = hashtextextended(line.name, hashtextextended(p_system, 0))
            and t.system_id = p_system and t.project = line.name and t.status = 'queued' and t.scheduled_at <= at
            and ccm.is_open_to(t, p_worker, p_roles, p_labels, passed, at)
          order by t.priority desc, t.scheduled_at, t.created_at, t.id
          limit case when line.free > 0 then line.free + wider else 0 end
        ) as c
      ),
      -- Whose turn it is in each round of the projects is settled by its first candidates.
      head as (
        select c.name, row_number() over (order by c.turn, c.scheduled_at, c.created_at, c.id) as place
        from candidate as c where c.n = 1 and c.priority = c.best
      ),
      pick as materialized (
        select c.name, c.free, c.id, row_number() over (order by c.n, head.place) as n
        from candidate as c join head on head.name = c.name
        where c.priority = c.best
        order by c.n, head.place limit room + wider
      ),
      -- One that somebody is editing is passed over, not waited for: this claim holds up all others. Of one that was edited
      -- since it was picked the row as it is now is looked at.
      -- In a subquery of its own each row is looked up by its key, whatever the plan was made over.
      held as materialized (
        select pick.*, locked.place from pick cross join lateral (
          select t.ctid as place from public.tasks as t
          where t.system_id = p_system and t.id = pick.id and t.project = pick.name and t.status = queued
            and t.scheduled_at <= at and ccm.is_open_to(t, p_worker, p_roles, p_labels, passed, at)
          for update skip locked
        ) as locked
      ),
      taken as (
        select h.* from (select held.*, row_number() over (partition by held.name order by held.n) as nth from held) as h
        where h.nth <= h.free order by h.n limit room
      )
      select (select array_agg(pick.id) from pick), (select array_agg(held.id) from held),
        array_agg(taken.place order by taken.n), array_agg(taken.name order by taken.n)
      into picked, held_ids, places, names from taken;
      exit when picked is null;
      if cardinality(picked) > coalesce(cardinality(held_ids), 0) then
        -- Looked past in the next rounds, and by so many more rows at once: few rounds pass over however many are edited.
        passed := passed || array(select unnest(picked) except select unnest(held_ids));
        wider := cardinality(passed) - cardinality(p_except);
      end if;
      continue when places is null;
      return query
      with claimed as (
        update public.tasks as t
        set status = 'running', attempt = t.attempt + 1, worker = p_worker, started_at = coalesce(t.started_at, at),
          -- Its own worker goes on with the session; anybody else starts it fresh.
          claude_session_id = case when t.resume_worker = p_worker then t.claude_session_id end,
          resume_worker = case when t.resume_worker = p_worker then t.resume_worker end,
          resume_until = case when t.resume_worker = p_worker then t.resume_until end
        from unnest(places) with ordinality as taken (place, n)
        where t.ctid = taken.place
        returning t as task, taken.n
      ),
      opened as (
        insert into public.task_attempts
          (system_id, task_id, attempt, project, worker, epoch, claimed_at, lease_expires_at)
        select p_system, (c.task).id, (c.task).attempt, (c.task).project, p_worker, p_epoch, at, expires from claimed as c
      ),
      served as (
        update public.projects as p
        set turn = newest.turn + last.n
        from (select taken.name, max(taken.n) as n from unnest(names) with ordinality as taken (name, n) group by taken.name) as last,
          (select max(q.turn) as turn from public.projects as q where q.system_id = p_system) as newest
        -- The only one that was served, and the last one before: it is last already.
        where p.system_id = p_system and p.name = last.name
          and not (p.turn = newest.turn and p.turn > 0 and last.name = all (names))
      )
      select (c.task).*, expires from claimed as c order by c.n;
      room := room - cardinality(places);
    end loop;
  end;
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;
comment on function public.tasks_claim is 'Takes up to a limit of tasks under a lease, best first.';

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000021';
