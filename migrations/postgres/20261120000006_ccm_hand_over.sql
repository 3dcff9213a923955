-- A worker takes in tasks while the database does not answer, and gives each its id. Later they are inserted under it.

create function ccm.keep_task_id() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.id := pg_catalog.current_setting('ccm.task_id');
  return new;
end $$;
revoke execute on function ccm.keep_task_id from public, anon, authenticated, service_role;
-- After before_insert, by its name.
create trigger before_insert_id before insert on public.tasks
  for each row when (coalesce(current_setting('ccm.task_id', true), '') <> '') execute function ccm.keep_task_id();

create function public.task_hand_over(
  p_system text, p_id text, p_project text, p_prompt text, p_role text, p_model text, p_priority integer, p_timeout_s integer,
  p_permission_mode text, p_allowed_tools text[], p_disallowed_tools text[], p_dedupe_key text, p_depends_on text[],
  p_scheduled_at bigint, p_labels text[], p_max_tokens bigint, p_max_cost_usd double precision, p_in_place boolean,
  p_source text, p_only_worker text, p_request_key text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  answer jsonb;
begin
  -- The same lock as the insert takes: nobody gets this id in between.
  perform pg_catalog.pg_advisory_xact_lock(ccm.lock_key('insert', p_system));
  -- An id of a clock that is days ahead would draw all later ids after it; one that is taken is another's, or this very
  -- task, which the insert knows by its request.
  if p_id ~ '^[0-9a-hjkmnp-tv-z]{12}$'
    and not exists (select from public.tasks as t where t.system_id = p_system and t.id = p_id)
    and p_id < ccm.next_task_id(p_system, ccm.now() + interval '1 day')
  then
    perform pg_catalog.set_config('ccm.task_id', p_id, true);
  end if;
  answer := public.task_insert(
    p_system, p_project, p_prompt, p_role, p_model, p_priority, p_timeout_s, p_permission_mode, p_allowed_tools,
    p_disallowed_tools, p_dedupe_key, p_depends_on, p_scheduled_at, p_labels, p_max_tokens, p_max_cost_usd, p_in_place,
    p_source, p_only_worker, p_request_key);
  perform pg_catalog.set_config('ccm.task_id', '', true);
  return answer;
end $$;
comment on function public.task_hand_over is 'Adds a task that a worker took in under an id of its own; sent again it makes no second task.';
revoke execute on function public.task_hand_over from public, anon, authenticated, service_role;
grant execute on function public.task_hand_over to service_role;
