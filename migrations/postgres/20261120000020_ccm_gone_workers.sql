-- Workers that are gone do not stay for ever: one that was not seen for 30 days and has nothing open is forgotten, with what it
-- told. Epochs go on above those that were forgotten, so that no process of before is taken for a new one.

alter table public.systems add column retired_epoch integer not null default 0;
comment on column public.systems.retired_epoch is 'Set by the queue: the highest epoch of a worker that was forgotten. New workers begin above it.';

-- Throws PT409 unless this is the newest process of the worker, PT410 where nobody is; it stays that until this
-- transaction ends. `alone` waits for every other call of the worker that has begun, and lets none begin until then.
create or replace function ccm.fence(p_system text, p_worker text, p_epoch integer, alone boolean default false) returns void
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
    raise sqlstate 'PT410' using message = pg_catalog.format('Worker %s has not registered with the queue yet.', p_worker);
  end if;
  if newest <> p_epoch then
    raise sqlstate 'PT409' using message = pg_catalog.format('Another process has registered as worker %s since; this one may not write any more.', p_worker);
  end if;
end $$;

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
    p_system, p_worker, (select s.retired_epoch + 1 from public.systems as s where s.id = p_system), info ->> 'host',
    info ->> 'version', (info ->> 'capacity')::integer,
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

create or replace function public.records_prune(p_system text, p_worker text, p_older_than_ms bigint) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  before timestamptz := ccm.now() - p_older_than_ms * interval '1 millisecond';
  forgotten_before timestamptz := least(before, ccm.now() - interval '30 days');
  -- Each worker deletes its own, by its key: all of a system's would be read by each of them.
  whose text[] := array(
    select w.id from public.workers as w where w.system_id = p_system and w.seen_at < before) || p_worker;
  gone record;
begin
  delete from public.metrics as m where m.system_id = p_system and m.worker = any (whose) and m.minute < before;
  delete from public.incidents as i
  where i.system_id = p_system and i.worker = any (whose) and i.at < before and i.resolved_at < before;

  perform pg_catalog.set_config('ccm.step', 'on', true);
  for gone in
    select w.id from public.workers as w
    where w.system_id = p_system and w.id <> p_worker and w.seen_at < forgotten_before order by w.id
  loop
    -- One that does something right now is not gone, and whoever holds its lock is looked at the next time.
    continue when not pg_catalog.pg_try_advisory_xact_lock(ccm.lock_key('worker ' || gone.id, p_system));
    with deleted as (
      delete from public.workers as w
      where w.system_id = p_system and w.id = gone.id and w.seen_at < forgotten_before
        and not exists (
          select from public.task_attempts as a
          where a.system_id = p_system and a.worker = w.id and a.outcome is null)
      returning w.epoch
    )
    update public.systems as s set retired_epoch = greatest(s.retired_epoch, d.epoch)
    from deleted as d where s.id = p_system;
    continue when not found;
    delete from public.metrics as m where m.system_id = p_system and m.worker = gone.id;
    delete from public.incidents as i where i.system_id = p_system and i.worker = gone.id;
  end loop;
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;
comment on function public.records_prune is 'Deletes old minutes and incidents of a worker, and of workers that were not seen for as long; forgets those that were not seen for 30 days.';

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000020';
