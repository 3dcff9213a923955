-- Edits by hand while the queue is at work: what somebody changes, or holds in a transaction that is left open, is neither
-- claimed as it was before nor waited for, and a cancel counts that was answered while a report was on its way.

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
          -- The row as it is now: a cancel that was answered since the look above is kept.
          status = case when t.cancel_requested then 'cancelled' else 'queued' end,
          failures = t.failures + case when b.outcome = 'failed' then 1 else 0 end,
          releases = t.releases + case when b.outcome = 'released' then 1 else 0 end,
          worker = case when t.cancel_requested then t.worker end,
          scheduled_at = case when t.cancel_requested then t.scheduled_at else at + case
            when b.retry_after_ms is null then ccm.backoff(case when b.outcome = 'released' then t.releases else t.failures end)
            else greatest(b.retry_after_ms, 0) * interval '1 millisecond' end end,
          resume_worker = case when b.session is not null and not t.cancel_requested then p_worker end,
          resume_until = case when b.session is not null and not t.cancel_requested
            then at + greatest(b.for_ms, 0) * interval '1 millisecond' end,
          claude_session_id = case when not t.cancel_requested then b.session end,
          result = case when not t.cancel_requested then t.result
            when octet_length(p_results[b.n]) > 1048576 then '{"truncated": true}' else p_results[b.n]::jsonb end,
          error = case when t.cancel_requested then t.cancel_reason end,
          finished_at = case when t.cancel_requested then at end
        from (
          select p_tasks[k.n] as task_id, p_attempts[k.n] as attempt, p_outcomes[k.n] as outcome,
            p_retry_after_ms[k.n] as retry_after_ms, p_resume_sessions[k.n] as session, p_resume_for_ms[k.n] as for_ms, k.n
          from unnest(back) as k (n)
        ) as b
        where t.system_id = p_system and t.id = b.task_id and t.attempt = b.attempt and t.status = running
        returning b.n, t.id, t.status
      loop
        replies[one.n] := one.status;
        if one.status = 'cancelled' then ended := ended || one.id; end if;
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
  taken as (
    update public.tasks as t set
      -- The row as it is now: a cancel that was answered since the look above is kept.
      status = case when t.cancel_requested then 'cancelled' when t.lost_leases + 1 >= 3 then 'dead' else 'queued' end,
      lost_leases = t.lost_leases + 1,
      scheduled_at = case when t.cancel_requested or t.lost_leases + 1 >= 3 then t.scheduled_at else at end,
      worker = case when t.cancel_requested or t.lost_leases + 1 >= 3 then t.worker end,
      resume_worker = null, resume_until = null, claude_session_id = null,
      error = case when t.cancel_requested then t.cancel_reason when t.lost_leases + 1 >= 3
        then pg_catalog.format('Its worker was lost %s times; the last one was %s.', t.lost_leases + 1, due.worker) end,
      finished_at = case when t.cancel_requested or t.lost_leases + 1 >= 3 then at end
    from due
    where t.system_id = p_system and t.id = due.task_id and t.attempt = due.attempt and t.status = 'running'
    returning t.id, t.status, t.error
  ),
  closed as (
    update public.task_attempts as a set ended_at = at, outcome = 'lost', error = due.why
    from (
      select due.*, coalesce(taken.error, pg_catalog.format('Its worker %s was lost.', due.worker)) as why
      from due left join taken on taken.id = due.task_id
    ) as due
    where a.task_id = any (array[due.task_id]) and a.system_id || '' = p_system and a.attempt = due.attempt
  )
  select array_agg(t.id), array_agg(t.id) filter (where t.status <> 'queued') into moved, ended from taken as t;
  if ended is not null then perform ccm.cancel_dependents(p_system, ended); end if;
  perform pg_catalog.set_config('ccm.step', '', true);
  return query select t.* from ccm.task_rows as t where t.system_id = p_system and t.id = any (moved) order by t.id;
end $$;
comment on function public.tasks_reap is 'Takes back leases that ended longer ago than the grace; answers the tasks it moved.';

create or replace function ccm.after_task_update() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  faults text;
  was public.tasks := old;
  given public.tasks := new;
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
  -- As in a row that is inserted: an empty text is none, so that no task waits for a worker that is called ''.
  new.role := nullif(new.role, '');
  new.model := nullif(new.model, '');
  new.only_worker := nullif(new.only_worker, '');
  new.scheduled_at := coalesce(new.scheduled_at, ccm.now());
  faults := ccm.task_faults(new);
  if faults <> '' then raise sqlstate 'PT400' using message = faults; end if;
  if new is distinct from given then
    perform pg_catalog.set_config('ccm.step', 'on', true);
    update public.tasks as t
    set scheduled_at = new.scheduled_at, role = new.role, model = new.model, only_worker = new.only_worker
    where t.system_id = new.system_id and t.id = new.id;
    perform pg_catalog.set_config('ccm.step', '', true);
  end if;
  return null;
end $$;
-- What was emptied by hand before waits for nobody any more. And lists of rows that are older than the checks of them are
-- made what a worker reads: one that lists nothing, or lists lists, made each claim and each list fail that met it.
select pg_catalog.set_config('ccm.step', 'on', true);
update public.tasks as t set only_worker = null where t.only_worker = '' and t.status = 'queued';
update public.tasks as t set
  labels = array(select l.name from unnest(t.labels) as l (name) where l.name <> ''),
  allowed_tools = array(select r.rule from unnest(t.allowed_tools) as r (rule) where r.rule <> ''),
  disallowed_tools = array(select r.rule from unnest(t.disallowed_tools) as r (rule) where r.rule <> '')
where ccm.is_no_list(t.labels) or ccm.is_no_list(t.allowed_tools) or ccm.is_no_list(t.disallowed_tools);
select pg_catalog.set_config('ccm.step', '', true);

create or replace function public.workers_listed(p_system text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(w) || pg_catalog.jsonb_build_object(
    -- By the clock that wrote it: that of whoever asks may be minutes off.
    'silent_ms', greatest(0, pg_catalog.floor(extract(epoch from ccm.now() - w.seen_at) * 1000))) order by w.id), '[]')
  from public.workers as w where w.system_id = p_system
$$;
comment on function public.workers_listed is 'All workers of a system, by name, each with how long ago its last heartbeat was.';

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000021';
