-- What is set for the projects of all machines, so that each machine shows what counts, and leaves it as it was set.

create function public.projects_listed(p_system text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(pg_catalog.jsonb_agg(
    pg_catalog.jsonb_build_object('name', p.name, 'max_running', p.max_running, 'paused', p.paused) order by p.name), '[]')
  from public.projects as p where p.system_id = p_system
$$;
comment on function public.projects_listed is 'The limits of all projects of a system, by name.';
revoke execute on function public.projects_listed from public, anon, authenticated, service_role;
grant execute on function public.projects_listed to service_role;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000018';
