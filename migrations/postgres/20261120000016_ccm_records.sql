-- What workers tell beside the queue does not grow for ever, also where a worker is gone; and a list is one
-- answer: of a function that answers rows the API cuts those beyond its own limit, 1,000 unless told, and says nothing.

create function public.records_prune(p_system text, p_worker text, p_older_than_ms bigint) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  before timestamptz := ccm.now() - p_older_than_ms * interval '1 millisecond';
  -- Each worker deletes its own, by its key: all of a system's would be read by each of them.
  whose text[] := array(
    select w.id from public.workers as w where w.system_id = p_system and w.seen_at < before) || p_worker;
begin
  delete from public.metrics as m where m.system_id = p_system and m.worker = any (whose) and m.minute < before;
  delete from public.incidents as i
  where i.system_id = p_system and i.worker = any (whose) and i.at < before and i.resolved_at < before;
end $$;
comment on function public.records_prune is 'Deletes old minutes and incidents of a worker, and of workers that were not seen for as long.';

revoke execute on function public.records_prune from public, anon, authenticated, service_role;
grant execute on function public.records_prune to service_role;

create function public.tasks_listed(
  p_system text, p_status text, p_projects text[], p_sort text, p_after_key bigint, p_after_id text, p_limit integer
) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(pg_catalog.jsonb_agg(l.task order by l.n), '[]')
  from public.tasks_page(p_system, p_status, p_projects, p_sort, p_after_key, p_after_id, p_limit)
    with ordinality as l (task, n)
$$;
comment on function public.tasks_listed is 'What tasks_page answers, as one list.';

create function public.workers_listed(p_system text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(w) order by w.id), '[]')
  from public.workers as w where w.system_id = p_system
$$;
comment on function public.workers_listed is 'All workers of a system, by name.';

revoke execute on function public.tasks_listed, public.workers_listed from public, anon, authenticated, service_role;
grant execute on function public.tasks_listed, public.workers_listed to service_role;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000016';
