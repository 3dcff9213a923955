-- Who may do what. Nothing rests on default privileges, which projects made since May 2026 do not have.
--   anon: nothing. authenticated: reads its systems, adds tasks to them, cancels. service_role: the workers.

alter table public.systems enable row level security;
alter table public.projects enable row level security;
alter table public.tasks enable row level security;
alter table public.task_attempts enable row level security;
alter table public.task_events enable row level security;
alter table public.workers enable row level security;
alter table public.templates enable row level security;
alter table public.metrics enable row level security;
alter table public.incidents enable row level security;

revoke all on public.systems, public.projects, public.tasks, public.task_attempts, public.task_events,
  public.workers, public.templates, public.metrics, public.incidents from public, anon, authenticated, service_role;
revoke all on schema ccm from public;
revoke all on all tables in schema ccm from public, anon, authenticated, service_role;
revoke execute on all functions in schema ccm from public, anon, authenticated, service_role;
revoke execute on function
  public.configure_system, public.configure_project, public.worker_register, public.task_insert, public.tasks_claim,
  public.tasks_heartbeat, public.task_finish_many, public.task_finish, public.tasks_mine, public.tasks_reap,
  public.task_cancel, public.task_retry, public.tasks_prune, public.task_get, public.tasks_list, public.tasks_count,
  public.tasks_by_prefix, public.task_dependencies
from public, anon, authenticated, service_role;

grant usage on schema public to authenticated, service_role;
-- Policies and trigger conditions are evaluated with the rights of whoever asks.
grant usage on schema ccm to authenticated, service_role;
grant execute on function ccm.my_systems, ccm.now to authenticated, service_role;

grant select on public.systems, public.projects, public.tasks, public.task_attempts, public.task_events,
  public.workers, public.templates, public.metrics, public.incidents to authenticated, service_role;
grant insert (system_id, project, prompt, priority, role, model, labels, depends_on, scheduled_at, timeout_s,
  permission_mode, allowed_tools, disallowed_tools, max_tokens, max_cost_usd, dedupe_key)
on public.tasks to authenticated;
grant execute on function public.task_cancel to authenticated;

grant insert, update, delete on public.systems, public.projects, public.tasks, public.templates to service_role;
grant update (draining) on public.workers to service_role;
grant insert, update, delete on public.task_events, public.metrics, public.incidents to service_role;
grant execute on function
  public.configure_system, public.configure_project, public.worker_register, public.task_insert, public.tasks_claim,
  public.tasks_heartbeat, public.task_finish_many, public.task_finish, public.tasks_mine, public.tasks_reap,
  public.task_cancel, public.task_retry, public.tasks_prune, public.task_get, public.tasks_list, public.tasks_count,
  public.tasks_by_prefix, public.task_dependencies
to service_role;

create policy own on public.systems for select to authenticated using (id in (select ccm.my_systems()));
create policy own on public.projects for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own on public.tasks for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own_insert on public.tasks for insert to authenticated with check (system_id in (select ccm.my_systems()));
create policy own on public.task_attempts for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own on public.task_events for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own on public.workers for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own on public.templates for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own on public.metrics for select to authenticated using (system_id in (select ccm.my_systems()));
create policy own on public.incidents for select to authenticated using (system_id in (select ccm.my_systems()));

-- Supabase makes the publication; a plain PostgreSQL has none. One that is for all tables has this one, and takes no more.
do $$
begin
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  if not exists (
    select from pg_catalog.pg_publication_tables
    where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'tasks'
  ) then
    alter publication supabase_realtime add table public.tasks;
  end if;
end $$;
