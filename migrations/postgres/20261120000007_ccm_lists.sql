-- Lists: narrow, in an order, paged by the place of the last task in it.

create index tasks_finished on public.tasks (system_id, finished_at, id) where finished_at is not null;

create function public.tasks_page(
  p_system text, p_status text, p_projects text[], p_sort text, p_after_key bigint, p_after_id text, p_limit integer
) returns setof jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  kind text := pg_catalog.ltrim(p_sort, '-');
  down boolean := p_sort like '-%';
  direction text := case when p_sort like '-%' then 'desc' else 'asc' end;
  key text := case kind when 'priority' then 'priority' when 'finished_at' then 'finished_at' end;
  conditions text := 't.system_id = $1';
begin
  if kind not in ('created_at', 'priority', 'finished_at') then
    raise exception 'There is no order %.', p_sort using errcode = '22023';
  end if;
  if kind = 'priority' then conditions := conditions || ' and t.status = ''queued'''; end if;
  if kind = 'finished_at' then conditions := conditions || ' and t.finished_at is not null'; end if;
  if p_status is not null then conditions := conditions || ' and t.status = $2'; end if;
  if p_projects is not null then conditions := conditions || ' and t.project = any ($3)'; end if;
  if p_after_id is not null then
    conditions := conditions || case kind
      when 'created_at' then ' and t.id %1$s $5'
      when 'priority' then ' and (t.priority, t.id) %1$s ($4, $5)'
      else ' and (t.finished_at, t.id) %1$s (timestamptz ''epoch'' + $4 * interval ''1 millisecond'', $5)'
    end;
  end if;
  -- Planned for these very values: one plan for all would read every task of the system.
  return query execute pg_catalog.format(
    'select pg_catalog.to_jsonb(listed) from (
       select t.id, t.project, pg_catalog.left(t.prompt, 200) as prompt, t.role, t.model, t.priority, t.timeout_s,
         t.permission_mode, t.allowed_tools, t.disallowed_tools, t.dedupe_key, t.depends_on, t.labels, t.max_tokens,
         t.max_cost_usd, t.in_place, t.source, t.only_worker, t.status, t.attempt, t.worker, t.failures, t.lost_leases,
         t.scheduled_at, t.resume_worker, t.resume_until, t.claude_session_id, t.cancel_requested, a.lease_expires_at,
         t.error, t.created_at, t.started_at, t.finished_at
       from public.tasks as t
         left join public.task_attempts as a
           on a.system_id = t.system_id and a.task_id = t.id and a.attempt = t.attempt and a.outcome is null
       where ' || conditions || '
       order by ' || coalesce('t.' || key || ' %2$s, ', '') || 't.id %2$s limit $6) as listed',
    case when down then '<' else '>' end, direction)
  using p_system, p_status, p_projects, p_after_key, p_after_id, p_limit;
end $$;
comment on function public.tasks_page is 'Tasks without results and with the beginnings of their prompts, in an order; after: the place to page on from.';

revoke execute on function public.tasks_page from public, anon, authenticated, service_role;
grant execute on function public.tasks_page to service_role;
