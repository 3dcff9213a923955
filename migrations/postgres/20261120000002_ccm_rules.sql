-- What holds for every row, whoever writes it. The queue's own functions set ccm.step while they write and are let
-- through where the rules would stand in their way; nobody can set it over the API.

-- Systems of the user who asks; nothing for anybody else.
create function ccm.my_systems() returns setof text
language sql stable security definer set search_path = ''
as $$
  select s.id from public.systems as s
  where (nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid = any (s.members)
$$;

-- Who asks is a user of an app and no member of the system.
create function ccm.is_stranger(p_system text) returns boolean
language sql stable set search_path = ''
as $$
  select pg_catalog.current_setting('role', true) in ('anon', 'authenticated')
    and p_system not in (select ccm.my_systems())
$$;

-- One lock for each thing that must not happen twice at once in a system; a collision only makes two wait.
create function ccm.lock_key(p_what text, p_system text) returns bigint
language sql immutable
return pg_catalog.hashtextextended(p_what || ' ' || p_system, 20261120);

-- The next id of a system: 12 of Crockford's digits, milliseconds above 15 random bits, greater than any before.
-- Unique when the caller holds the system's insert lock.
create function ccm.next_task_id(p_system text, p_now timestamptz) returns text
language plpgsql set search_path = ''
as $$
declare
  digits constant text := '0123456789abcdefghjkmnpqrstvwxyz';
  newest text := (select t.id from public.tasks as t where t.system_id = p_system order by t.id desc limit 1);
  value bigint := pg_catalog.floor(extract(epoch from p_now) * 1000)::bigint * 32768
    + pg_catalog.floor(pg_catalog.random() * 32768)::bigint;
  after bigint := 0;
  id text := '';
begin
  for place in 1 .. coalesce(length(newest), 0) loop
    after := after * 32 + position(substr(newest, place, 1) in digits) - 1;
  end loop;
  value := greatest(value, after + 1);
  for place in 1 .. 12 loop
    id := substr(digits, (value % 32)::integer + 1, 1) || id;
    value := value / 32;
  end loop;
  return id;
end $$;

-- How a task that can help nobody any more ended, as the end of a sentence; null for one that still can.
create function ccm.ended_as(p_status text) returns text
language sql immutable set search_path = ''
as $$
  select case p_status when 'failed' then 'failed' when 'cancelled' then 'was cancelled' when 'dead' then 'is dead' end
$$;

-- One sentence for each field of a task that cannot be taken.
create function ccm.task_faults(t public.tasks) returns text
language sql stable set search_path = ''
as $$
  select pg_catalog.concat_ws(
    ' ',
    case when t.prompt !~ '\S' then 'The prompt is empty.' end,
    case when octet_length(t.prompt) > 102400
      then pg_catalog.format('The prompt has %s bytes; at most 102400 (100 KiB) are allowed. Put the long part into a file of the project and name it in the prompt.', octet_length(t.prompt)) end,
    case when t.priority not between -100 and 100
      then pg_catalog.format('The priority %s is not a whole number from -100 to 100.', t.priority) end,
    case when t.role !~ '^[a-z0-9-]+$'
      then pg_catalog.format('The role "%s" holds something else than a-z, 0-9 and -.', t.role) end,
    case when cardinality(t.labels) > 20
        or exists (select from unnest(t.labels) as l (name) where coalesce(l.name, '') !~ '^[a-z0-9][a-z0-9._:-]{0,62}$')
      then 'The labels must be at most 20, each of 1 to 63 of a-z, 0-9, ".", "_", ":" and "-".' end,
    case when cardinality(t.depends_on) > 50
      then pg_catalog.format('It depends on %s tasks; at most 50 are allowed.', cardinality(t.depends_on)) end,
    case when t.scheduled_at not between '1970-01-01Z' and '9999-12-31T23:59:59.999Z'
      then 'The time of scheduling is not one of the years 1970 to 9999.' end,
    case when t.timeout_s < 1 then 'The timeout must be at least 1 second.' end,
    case when t.permission_mode not in ('acceptEdits', 'auto', 'bypassPermissions', 'manual', 'dontAsk', 'plan')
      then pg_catalog.format('The permission mode "%s" is none of acceptEdits, auto, bypassPermissions, manual, dontAsk, plan.', t.permission_mode) end,
    case when t.max_tokens <= 0 then 'The budget of tokens must be a whole number above 0.' end,
    case when not (t.max_cost_usd > 0 and t.max_cost_usd < 'infinity')
      then 'The budget of dollars must be a number above 0.' end,
    case when t.source !~ '^[a-z][a-z0-9-]{0,39}$' then 'The source must be 1 to 40 of a-z, 0-9 and -.' end
  )
$$;

-- Every task begins the same way: queued, attempt 0, whatever the row said.
create function ccm.before_task_insert() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  at timestamptz;
  faults text;
  alive public.tasks;
begin
  if coalesce(new.system_id, '') = '' then
    select case when count(*) = 1 then min(s.id) end into new.system_id
    from public.systems as s where not ccm.is_stranger(s.id);
    if new.system_id is null then
      raise sqlstate 'PT400' using message = 'Which system is the task for? There is not exactly one, so system_id must be given.';
    end if;
  end if;
  if ccm.is_stranger(new.system_id) or not exists (select from public.systems as s where s.id = new.system_id) then
    raise sqlstate 'PT400' using message = pg_catalog.format('There is no system "%s".', new.system_id);
  end if;
  if coalesce(new.project, '') = '' then
    select coalesce(s.default_project, '') into new.project from public.systems as s where s.id = new.system_id;
    if new.project = '' then
      raise sqlstate 'PT400' using message = 'Which project is the task for? The system has no default project.';
    end if;
  end if;
  if not exists (select from public.projects as p where p.system_id = new.system_id and p.name = new.project) then
    raise sqlstate 'PT400' using message = pg_catalog.format('There is no project "%s" in the system "%s".', new.project, new.system_id);
  end if;

  -- Orders the inserts of a system: the bound is exact, ids go up, and of two equal keys one comes first.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('insert', new.system_id));
  at := ccm.now();
  new.id := ccm.next_task_id(new.system_id, at);
  new.status := 'queued';
  new.attempt := 0;
  new.worker := null;
  new.failures := 0;
  new.lost_leases := 0;
  new.releases := 0;
  new.cancel_requested := false;
  new.cancel_reason := null;
  new.resume_worker := null;
  new.resume_until := null;
  new.claude_session_id := null;
  new.result := null;
  new.error := null;
  new.created_at := at;
  new.started_at := null;
  new.finished_at := null;
  new.priority := coalesce(new.priority, 0);
  new.source := coalesce(new.source, 'dashboard');
  new.role := nullif(new.role, '');
  new.model := nullif(new.model, '');
  new.dedupe_key := nullif(new.dedupe_key, '');
  new.only_worker := nullif(new.only_worker, '');
  new.allowed_tools := coalesce(new.allowed_tools, '{}');
  new.disallowed_tools := coalesce(new.disallowed_tools, '{}');
  new.labels := coalesce((select array_agg(l.name order by l.first) from (select u.name, min(u.n) as first from unnest(new.labels) with ordinality as u (name, n) group by u.name) as l), '{}');
  new.depends_on := coalesce((select array_agg(d.id order by d.first) from (select u.id, min(u.n) as first from unnest(new.depends_on) with ordinality as u (id, n) group by u.id) as d), '{}');

  faults := ccm.task_faults(new);
  if new.dedupe_key is not null then
    select * into alive from public.tasks as t
    where t.system_id = new.system_id and t.dedupe_key = new.dedupe_key and t.status in ('queued', 'running');
    if found then
      raise sqlstate 'PT409' using message = pg_catalog.format('Task %s has the same dedupe_key and is %s.', alive.id, alive.status);
    end if;
  end if;
  if new.depends_on <> '{}' and faults = '' then
    -- Locked, so that none of them ends before this row is there to be cancelled with it.
    perform from public.tasks as t
    where t.system_id = new.system_id and t.id = any (new.depends_on) order by t.id for share;
    select pg_catalog.string_agg(
      case when t.id is null then pg_catalog.format('It depends on task %s, which does not exist.', d.id)
        else pg_catalog.format('It depends on task %s, which %s: it could never start.', d.id, ccm.ended_as(t.status)) end,
      ' ' order by d.n) into faults
    from unnest(new.depends_on) with ordinality as d (id, n)
      left join public.tasks as t on t.system_id = new.system_id and t.id = d.id
    where t.id is null or ccm.ended_as(t.status) is not null;
  end if;
  if faults <> '' then raise sqlstate 'PT400' using message = faults; end if;
  new.scheduled_at := greatest(at, pg_catalog.date_trunc('milliseconds', new.scheduled_at));
  return new;
end $$;
create trigger before_insert before insert on public.tasks
  for each row execute function ccm.before_task_insert();

-- Once for a statement, not for a row: a thousand rows in one INSERT are counted once.
create function ccm.after_task_insert() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  full_system record;
begin
  for full_system in
    select s.max_queued from public.systems as s
    where s.id in (select a.system_id from added as a)
      and (select count(*) from (select from public.tasks as t where t.system_id = s.id and t.status = 'queued' limit s.max_queued + 1) as queued) > s.max_queued
  loop
    raise sqlstate 'PT429' using
      message = pg_catalog.format('The queue is full: %s tasks are waiting.', full_system.max_queued),
      hint = 'Try again when some have started, cancel some, or raise max_queued of the system.';
  end loop;
  return null;
end $$;
create trigger after_insert after insert on public.tasks
  referencing new table as added for each statement execute function ccm.after_task_insert();

create function ccm.before_task_update() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  faults text;
  blank public.tasks;
  was public.tasks := old;
  becomes public.tasks := new;
begin
  if new is not distinct from old then return new; end if;
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
  new.scheduled_at := coalesce(new.scheduled_at, ccm.now());
  faults := ccm.task_faults(new);
  if faults <> '' then raise sqlstate 'PT400' using message = faults; end if;
  return new;
end $$;
create trigger before_update before update on public.tasks
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.before_task_update();

create function ccm.before_task_delete() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if old.status = 'running' then
    raise sqlstate 'PT409' using
      message = pg_catalog.format('Task %s is running: it cannot be deleted.', old.id),
      hint = 'select task_cancel(system, id, reason) ends it.';
  end if;
  if exists (
    select from public.tasks as t
    where t.depends_on @> array[old.id] and t.depends_on <> '{}' and t.system_id = old.system_id
      and t.status in ('queued', 'running')
  ) then
    raise sqlstate 'PT409' using message = pg_catalog.format('A living task depends on task %s: it cannot be deleted.', old.id);
  end if;
  return old;
end $$;
create trigger before_delete before delete on public.tasks
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.before_task_delete();

create function ccm.after_task_delete() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  delete from public.task_attempts as a using gone as g where a.task_id = g.id and a.system_id = g.system_id;
  return null;
end $$;
create trigger after_delete after delete on public.tasks
  referencing old table as gone for each statement execute function ccm.after_task_delete();

-- Claims and registrations are what every report is checked against.
create function ccm.refuse_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
begin
  -- Deeper than this trigger itself: the row goes with the one it belongs to.
  if pg_catalog.pg_trigger_depth() > 1 then return coalesce(new, old); end if;
  raise sqlstate 'PT409' using message = pg_catalog.format('Rows of %s are written by the queue only.', tg_table_name);
end $$;
create trigger by_hand before insert or update or delete on public.task_attempts
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.refuse_by_hand();
create trigger by_hand before insert or delete on public.workers
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.refuse_by_hand();
create trigger identity_by_hand before update of system_id, id, epoch on public.workers
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.refuse_by_hand();

create function ccm.refuse_truncate() returns trigger
language plpgsql set search_path = ''
as $$
begin
  raise sqlstate 'PT409' using message = pg_catalog.format('%s cannot be emptied: tasks may be running.', tg_table_name);
end $$;
create trigger no_truncate before truncate on public.tasks for each statement execute function ccm.refuse_truncate();
create trigger no_truncate before truncate on public.task_attempts for each statement execute function ccm.refuse_truncate();
create trigger no_truncate before truncate on public.workers for each statement execute function ccm.refuse_truncate();

-- A limit that is set or lowered holds for every claim after it: claims that began before it have ended by then.
create function ccm.before_project_change() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('claim', new.system_id));
  return new;
end $$;
create trigger before_change before update of max_running, paused on public.projects
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.before_project_change();
