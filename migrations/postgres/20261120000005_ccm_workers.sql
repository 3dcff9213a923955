-- What a worker tells of itself may change while it works: a project more, another capacity.

create function public.worker_describe(p_system text, p_worker text, p_epoch integer, p_info text) returns void
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
  insert into public.projects (system_id, name)
  select p_system, p.name from jsonb_object_keys(coalesce(nullif(info -> 'projects', 'null'), '{}')) as p (name)
  on conflict do nothing;
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;
comment on function public.worker_describe is 'Changes what the worker tells of itself, and makes the projects it has.';

revoke execute on function public.worker_describe from public, anon, authenticated, service_role;
grant execute on function public.worker_describe to service_role;
