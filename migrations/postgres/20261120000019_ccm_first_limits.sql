-- A project that a worker makes known begins with the limits it has there: one that is paused, or has few places, is that
-- also where its machine came from a queue of its own. What is set already stays.

create function ccm.know_projects(p_system text, p_info jsonb) returns void
language sql set search_path = ''
as $$
  insert into public.projects (system_id, name, max_running, paused)
  select p_system, p.name, (l.limits ->> 'max_running')::integer, coalesce((l.limits ->> 'paused')::boolean, false)
  from jsonb_object_keys(coalesce(nullif(p_info -> 'projects', 'null'), '{}')) as p (name)
    cross join lateral (select p_info -> 'limits' -> p.name as limits) as l
  on conflict do nothing
$$;
revoke execute on function ccm.know_projects from public, anon, authenticated, service_role;

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
  perform ccm.know_projects(p_system, info);
  perform pg_catalog.set_config('ccm.step', '', true);
  return answer;
end $$;

create or replace function public.worker_describe(p_system text, p_worker text, p_epoch integer, p_info text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  info jsonb := coalesce(nullif(p_info, ''), '{}')::jsonb;
begin
  perform ccm.fence(p_system, p_worker, p_epoch);
  perform pg_catalog.set_config('ccm.step', 'on', true);
  update public.workers as w set
    host = info ->> 'host', version = info ->> 'version', capacity = (info ->> 'capacity')::integer,
    roles = case when jsonb_typeof(info -> 'roles') = 'array' then array(select jsonb_array_elements_text(info -> 'roles')) end,
    labels = array(select jsonb_array_elements_text(coalesce(nullif(info -> 'labels', 'null'), '[]'))),
    projects = coalesce(nullif(info -> 'projects', 'null'), '{}')
  where w.system_id = p_system and w.id = p_worker;
  perform ccm.know_projects(p_system, info);
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000019';
