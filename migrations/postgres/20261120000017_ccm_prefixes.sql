-- A short id means one of the tasks that its caller may know of: the first two over all projects might be others'.

drop function public.tasks_by_prefix;
-- Without projects as workers of before call it.
create function public.tasks_by_prefix(p_system text, p_prefix text, p_projects text[] default null) returns setof text
language sql stable security definer set search_path = ''
as $$
  -- A range and no pattern: no character of the prefix is special, and the index serves it.
  select t.id from public.tasks as t
  where t.system_id = p_system and t.id >= p_prefix and t.id < p_prefix || pg_catalog.chr(1114111)
    and (p_projects is null or t.project = any (p_projects))
  order by t.id limit 2
$$;
comment on function public.tasks_by_prefix is 'At most two ids of these projects that begin like this; no projects: of all.';

revoke execute on function public.tasks_by_prefix from public, anon, authenticated, service_role;
grant execute on function public.tasks_by_prefix to service_role;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000017';
