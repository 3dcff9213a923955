-- Templates as workers use them: with typed variables and limits. What a task takes from its project or its caller
-- (the project itself, priority, labels) is not theirs.

alter table public.templates rename column title to description;
alter table public.templates
  drop column project,
  drop column priority,
  drop column labels,
  add column variables jsonb not null default '{}' check (jsonb_typeof(variables) = 'object'),
  add column timeout_s integer check (timeout_s between 1 and 604800),
  add column max_tokens bigint check (max_tokens >= 1),
  add column max_cost_usd double precision check (max_cost_usd between 0.01 and 1000000),
  add column restricted boolean not null default false,
  -- Rows that are there may have more. They stay as they are, workers say that they cannot use them, and whoever changes
  -- one makes it shorter: no migration fails of them.
  add constraint templates_name_length check (length(name) <= 40) not valid,
  add constraint templates_prompt_length check (octet_length(prompt) <= 102400) not valid;
comment on table public.templates is 'Prompts that are used again and again, on every machine of the system. One of a machine''s own with the same name goes before.';
comment on column public.templates.name is 'Its name, as callers name it: 1 to 40 of a-z, 0-9 and -.';
comment on column public.templates.description is 'What it is for.';
comment on column public.templates.prompt is 'The prompt, with a {{name}} for each variable. At most 100 KiB.';
comment on column public.templates.permission_mode is 'As in Claude Code. A worker takes it only where it is no wider than its own setting.';
comment on column public.templates.allowed_tools is 'As in Claude Code. A worker takes only what its own settings allow.';
comment on column public.templates.disallowed_tools is 'As in Claude Code; added to those of the worker.';
comment on column public.templates.variables is 'By name: {"type": "text", "number" or "choice", "required": true, "default": null, "choices": []}. All of it may be left out.';
comment on column public.templates.timeout_s is 'Seconds one attempt may take; empty: the setting of the worker.';
comment on column public.templates.max_tokens is 'Tokens a task may use over all its attempts; empty: no limit of its own.';
comment on column public.templates.max_cost_usd is 'US dollars a task may cost over all its attempts; empty: no limit of its own.';
comment on column public.templates.restricted is 'Its tasks have only the rights of [outside] of the worker, whoever asks.';

create function ccm.before_template_update() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := ccm.now();
  return new;
end $$;
revoke execute on function ccm.before_template_update from public, anon, authenticated, service_role;
create trigger before_update before update on public.templates
  for each row execute function ccm.before_template_update();

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000014';
