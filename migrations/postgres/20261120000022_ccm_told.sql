-- What a worker tells of itself while its heartbeat is being written was refused at times: an update that meets another
-- one of its row works out every subquery before it looks at the row once more, also that of a branch that is not taken,
-- and `null` has no elements. They are worked out before the update.
create or replace function public.worker_describe(p_system text, p_worker text, p_epoch integer, p_info text) returns void
language plpgsql security definer set search_path = ''
as $$
declare
  info jsonb := coalesce(nullif(p_info, ''), '{}')::jsonb;
  of_roles jsonb := nullif(info -> 'roles', 'null');
  of_labels jsonb := coalesce(nullif(info -> 'labels', 'null'), '[]');
  its_roles text[];
  its_labels text[] := array(select jsonb_array_elements_text(of_labels));
begin
  if of_roles is not null then its_roles := array(select jsonb_array_elements_text(of_roles)); end if;
  perform ccm.fence(p_system, p_worker, p_epoch);
  perform pg_catalog.set_config('ccm.step', 'on', true);
  update public.workers as w set
    host = info ->> 'host', version = info ->> 'version', capacity = (info ->> 'capacity')::integer,
    roles = its_roles, labels = its_labels, projects = coalesce(nullif(info -> 'projects', 'null'), '{}')
  where w.system_id = p_system and w.id = p_worker;
  perform ccm.know_projects(p_system, info);
  perform pg_catalog.set_config('ccm.step', '', true);
end $$;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000022';
