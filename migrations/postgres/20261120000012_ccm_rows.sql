-- What no worker could read is not taken in: of a row that lists nothing, or lists of lists, every claim would fail
-- after it was done, on each machine in turn.

create function ccm.is_no_list(p_rules text[]) returns boolean
language sql immutable set search_path = ''
as $$
  select cardinality(p_rules) > 200 or coalesce(array_ndims(p_rules) > 1, false)
    or exists (select from unnest(p_rules) as r (rule) where coalesce(length(r.rule), 0) not between 1 and 1000)
$$;
revoke execute on function ccm.is_no_list from public, anon, authenticated, service_role;

create or replace function ccm.task_faults(t public.tasks) returns text
language sql stable set search_path = ''
as $$
  select pg_catalog.concat_ws(
    ' ',
    case when t.prompt !~ '\S' then 'The prompt is empty.' end,
    case when octet_length(t.prompt) > 102400
      then pg_catalog.format('The prompt has %s bytes; at most 102400 (100 KiB) are allowed. Put the long part into a file of the project and name it in the prompt.', octet_length(t.prompt)) end,
    case when t.priority not between -100 and 100
      then pg_catalog.format('The priority %s is not a whole number from -100 to 100.', t.priority) end,
    case when t.role !~ '^[a-z0-9-]+$'
      then pg_catalog.format('The role "%s" holds something else than a-z, 0-9 and -.', t.role) end,
    case when t.model !~ '^[][A-Za-z0-9_.:@/-]{1,200}$' then pg_catalog.format('The model "%s" is no id of a model.', pg_catalog.left(t.model, 200)) end,
    case when cardinality(t.labels) > 20 or array_ndims(t.labels) > 1
        or exists (select from unnest(t.labels) as l (name) where coalesce(l.name, '') !~ '^[a-z0-9][a-z0-9._:-]{0,62}$')
      then 'The labels must be at most 20, each of 1 to 63 of a-z, 0-9, ".", "_", ":" and "-".' end,
    case when ccm.is_no_list(t.allowed_tools) then 'The allowed tools must be at most 200 rules, each of 1 to 1000 characters.' end,
    case when ccm.is_no_list(t.disallowed_tools) then 'The disallowed tools must be at most 200 rules, each of 1 to 1000 characters.' end,
    case when cardinality(t.depends_on) > 50
      then pg_catalog.format('It depends on %s tasks; at most 50 are allowed.', cardinality(t.depends_on)) end,
    case when t.scheduled_at not between '1970-01-01Z' and '9999-12-31T23:59:59.999Z'
      then 'The time of scheduling is not one of the years 1970 to 9999.' end,
    case when t.timeout_s < 1 then 'The timeout must be at least 1 second.' end,
    case when t.permission_mode not in ('acceptEdits', 'auto', 'bypassPermissions', 'manual', 'dontAsk', 'plan')
      then pg_catalog.format('The permission mode "%s" is none of acceptEdits, auto, bypassPermissions, manual, dontAsk, plan.', t.permission_mode) end,
    case when t.max_tokens <= 0 then 'The budget of tokens must be a whole number above 0.' end,
    case when not (t.max_cost_usd > 0 and t.max_cost_usd < 'infinity')
      then 'The budget of dollars must be a number above 0.' end,
    case when t.source !~ '^[a-z][a-z0-9-]{0,39}$' then 'The source must be 1 to 40 of a-z, 0-9 and -.' end
  )
$$;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000012';
