-- The shared queue: what every machine of a team works from. Times are by the clock of this database only.
-- Rows are written by the functions of the next migrations; by hand only what their triggers allow.

create schema ccm;
comment on schema ccm is 'Inner parts of the queue. Not exposed by the API.';

-- Whole milliseconds, as everywhere in ccm. One function, so that a test can put another clock in its place.
-- Bound to what it names when it is made, so it needs no search_path, and without one it costs no call.
create function ccm.now() returns timestamptz
language sql volatile
return pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp());

create table public.systems (
  id text collate "C" primary key check (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  title text not null default '',
  default_project text,
  max_queued integer not null default 100 check (max_queued >= 1),
  members uuid[] not null default '{}',
  created_at timestamptz not null default ccm.now()
);
comment on table public.systems is 'A fleet of workers with a queue of its own.';
comment on column public.systems.id is 'Its name, as workers name it in their configuration.';
comment on column public.systems.title is 'A name for people.';
comment on column public.systems.default_project is 'The project of a task that names none.';
comment on column public.systems.max_queued is 'How many tasks may wait at once; a new one beyond that is refused. Retries never are.';
comment on column public.systems.members is 'Users (auth.users.id) who may see this system, add tasks to it and cancel them.';
comment on column public.systems.created_at is 'When it was made.';

create table public.projects (
  system_id text collate "C" not null references public.systems (id) on delete cascade,
  name text collate "C" not null check (name <> '' and length(name) <= 200),
  title text not null default '',
  max_running integer check (max_running >= 1),
  paused boolean not null default false,
  turn bigint not null default 0,
  created_at timestamptz not null default ccm.now(),
  primary key (system_id, name)
) with (fillfactor = 50);
comment on table public.projects is 'What agents may work on. Where its directory is, each worker knows for itself.';
comment on column public.projects.system_id is 'The system it belongs to.';
comment on column public.projects.name is 'Its name, as tasks and workers name it.';
comment on column public.projects.title is 'A name for people.';
comment on column public.projects.max_running is 'How many of its tasks may run at once, over all workers. Empty: no limit.';
comment on column public.projects.paused is 'Its tasks stay queued while this is set.';
comment on column public.projects.turn is 'Set by the queue: when it was served last, so that projects of equal priority take turns.';
comment on column public.projects.created_at is 'When it was made.';

create table public.tasks (
  system_id text collate "C" not null default '',
  id text collate "C" not null default '',
  project text collate "C" not null default '',
  prompt text not null,
  status text not null default 'queued',
  priority integer not null default 0,
  role text,
  model text,
  labels text[] not null default '{}',
  depends_on text[] not null default '{}',
  scheduled_at timestamptz,
  timeout_s integer,
  permission_mode text,
  allowed_tools text[] not null default '{}',
  disallowed_tools text[] not null default '{}',
  in_place boolean,
  max_tokens bigint,
  max_cost_usd double precision,
  dedupe_key text,
  source text not null default 'dashboard',
  only_worker text,
  request_key text,
  result jsonb,
  error text,
  attempt integer not null default 0,
  worker text,
  failures integer not null default 0,
  lost_leases integer not null default 0,
  releases integer not null default 0,
  cancel_requested boolean not null default false,
  cancel_reason text,
  resume_worker text,
  resume_until timestamptz,
  claude_session_id text,
  created_at timestamptz not null default ccm.now(),
  started_at timestamptz,
  finished_at timestamptz,
  primary key (system_id, id),
  foreign key (system_id, project) references public.projects (system_id, name),
  -- One for all: each CHECK of a table is compiled anew for every statement that writes it.
  constraint tasks_row check (
    status in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')
    and (finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled', 'dead'))
    and (status <> 'running' or worker is not null)
    and scheduled_at is not null)
) with (autovacuum_vacuum_scale_factor = 0.02);
comment on table public.tasks is 'The queue. Insert a row with a prompt (and a project) and a worker takes it; the result comes back in the row.';
comment on column public.tasks.system_id is 'The system; may be left empty where there is only one.';
comment on column public.tasks.id is 'Set by the queue, in the order of creation.';
comment on column public.tasks.project is 'What to work on; empty: the default project of the system.';
comment on column public.tasks.prompt is 'What the agent is to do. At most 100 KiB.';
comment on column public.tasks.status is 'Set by the queue: queued, running, succeeded, failed, cancelled or dead (its worker was lost three times).';
comment on column public.tasks.priority is '-100 to 100; higher goes first.';
comment on column public.tasks.role is 'What kind of agent: a-z, 0-9 and -. Empty: any.';
comment on column public.tasks.model is 'The model; empty: the setting of the worker.';
comment on column public.tasks.labels is 'A worker must have all of these.';
comment on column public.tasks.depends_on is 'Ids of tasks that must have succeeded before this one starts. Fixed once inserted.';
comment on column public.tasks.scheduled_at is 'Not started before this time; empty or past: now.';
comment on column public.tasks.timeout_s is 'Seconds one attempt may take; empty: the setting of the worker.';
comment on column public.tasks.permission_mode is 'As in Claude Code. A worker takes it only where it is no wider than its own setting.';
comment on column public.tasks.allowed_tools is 'As in Claude Code. A worker takes only what its own settings allow.';
comment on column public.tasks.disallowed_tools is 'As in Claude Code; added to those of the worker.';
comment on column public.tasks.in_place is 'Work in the project''s directory itself; empty: the setting of the project.';
comment on column public.tasks.max_tokens is 'Tokens it may use over all its attempts; empty: no limit of its own.';
comment on column public.tasks.max_cost_usd is 'US dollars it may cost over all its attempts; empty: no limit of its own.';
comment on column public.tasks.dedupe_key is 'At most one queued or running task of a system has this key.';
comment on column public.tasks.source is 'Who asked: dashboard, api, cli, schedule, github and so on.';
comment on column public.tasks.only_worker is 'The one worker that may have it; empty: any.';
comment on column public.tasks.request_key is 'Set by a program: the same request sent again makes no second task.';
comment on column public.tasks.result is 'Set by the worker: text, files changed, tools used, tokens, cost.';
comment on column public.tasks.error is 'Set by the queue: why it failed, was cancelled or is dead.';
comment on column public.tasks.attempt is 'Set by the queue: how often it was claimed. Only goes up.';
comment on column public.tasks.worker is 'Set by the queue: who runs it or ran it last.';
comment on column public.tasks.failures is 'Set by the queue: attempts that ended in a failure of the agent. The third one fails the task.';
comment on column public.tasks.lost_leases is 'Set by the queue: attempts whose worker was lost. The third one makes the task dead.';
comment on column public.tasks.releases is 'Set by the queue: attempts that were given back without fault of the task.';
comment on column public.tasks.cancel_requested is 'Set by task_cancel: its worker ends it.';
comment on column public.tasks.cancel_reason is 'Set by task_cancel: why.';
comment on column public.tasks.resume_worker is 'Set by the queue: the worker that goes on with its session.';
comment on column public.tasks.resume_until is 'Set by the queue: until when it is kept for that worker.';
comment on column public.tasks.claude_session_id is 'Set by the queue: the session to go on with.';
comment on column public.tasks.created_at is 'Set by the queue: when it was inserted.';
comment on column public.tasks.started_at is 'Set by the queue: when it was claimed first.';
comment on column public.tasks.finished_at is 'Set by the queue: when it ended.';

create index tasks_queued on public.tasks (system_id, project, priority desc, scheduled_at, created_at, id)
  where status = 'queued';
create index tasks_running on public.tasks (system_id, project) where status = 'running';
create unique index tasks_dedupe on public.tasks (system_id, dedupe_key)
  where dedupe_key is not null and status in ('queued', 'running');
create unique index tasks_request on public.tasks (system_id, request_key) where request_key is not null;
create index tasks_depends_on on public.tasks using gin (depends_on) where depends_on <> '{}';

-- The lease is here and not in tasks: a heartbeat then changes narrow rows that no dashboard and no Realtime
-- channel listens to.
create table public.task_attempts (
  system_id text collate "C" not null,
  task_id text collate "C" not null,
  attempt integer not null,
  worker text not null,
  epoch integer not null,
  claimed_at timestamptz not null,
  lease_expires_at timestamptz not null,
  ended_at timestamptz,
  outcome text,
  error text,
  -- The task first: with the system first, a planner that knows nothing yet takes all rows of the system for one.
  -- Their task is locked when they are written, and a trigger deletes them with it: a foreign key would cost more than
  -- both writes of such a row.
  primary key (task_id, attempt, system_id),
  constraint task_attempts_row check (
    (outcome is null) = (ended_at is null)
    and (outcome is null or outcome in ('succeeded', 'failed', 'failed_permanent', 'released', 'cancelled', 'lost')))
) with (autovacuum_vacuum_scale_factor = 0.02);
comment on table public.task_attempts is 'One row a claim: who ran it, until when it holds, how it ended. Written by the queue only.';
comment on column public.task_attempts.system_id is 'The system.';
comment on column public.task_attempts.task_id is 'The task.';
comment on column public.task_attempts.attempt is 'Counts the claims of a task from 1; the newest one alone may write.';
comment on column public.task_attempts.worker is 'Who claimed it.';
comment on column public.task_attempts.epoch is 'Which process of that worker, counted from its first registration.';
comment on column public.task_attempts.claimed_at is 'When it was claimed.';
comment on column public.task_attempts.lease_expires_at is 'Until when the claim holds; each heartbeat of the worker moves it.';
comment on column public.task_attempts.ended_at is 'When its end was reported or its lease was taken back.';
comment on column public.task_attempts.outcome is 'How it ended: succeeded, failed, failed_permanent, released, cancelled, or lost. Empty: it runs.';
comment on column public.task_attempts.error is 'Why it did not succeed.';

create index task_attempts_live on public.task_attempts (system_id, lease_expires_at) where outcome is null;

create table public.task_events (
  system_id text collate "C" not null,
  task_id text collate "C" not null,
  attempt integer not null,
  seq bigint not null,
  at timestamptz not null,
  kind text not null check (kind ~ '^[a-z][a-z_]{0,39}$'),
  message text not null default '',
  data jsonb,
  primary key (system_id, task_id, attempt, seq),
  foreign key (system_id, task_id) references public.tasks (system_id, id) on delete cascade
);
comment on table public.task_events is 'What happened to a task''s agent: changes of its state and summaries, not every hook.';
comment on column public.task_events.system_id is 'The system.';
comment on column public.task_events.task_id is 'The task.';
comment on column public.task_events.attempt is 'The attempt.';
comment on column public.task_events.seq is 'Counted by the worker; the same event sent twice is stored once.';
comment on column public.task_events.at is 'When it happened, by the worker''s clock.';
comment on column public.task_events.kind is 'state, summary and so on.';
comment on column public.task_events.message is 'One sentence.';
comment on column public.task_events.data is 'More of it.';

create table public.workers (
  system_id text collate "C" not null references public.systems (id) on delete cascade,
  id text collate "C" not null check (id <> '' and length(id) <= 200),
  epoch integer not null,
  host text,
  version text,
  capacity integer,
  roles text[],
  labels text[] not null default '{}',
  projects jsonb not null default '{}',
  draining boolean not null default false,
  running integer not null default 0,
  registered_at timestamptz not null,
  seen_at timestamptz not null,
  primary key (system_id, id)
) with (fillfactor = 50);
comment on table public.workers is 'The daemons that work this system''s queue.';
comment on column public.workers.system_id is 'The system.';
comment on column public.workers.id is 'Its name; one daemon at a time may use it.';
comment on column public.workers.epoch is 'Counts its registrations; older processes are refused.';
comment on column public.workers.host is 'The machine''s name.';
comment on column public.workers.version is 'Version of ccm.';
comment on column public.workers.capacity is 'How many agents it runs at once.';
comment on column public.workers.roles is 'Roles it takes; empty: any.';
comment on column public.workers.labels is 'What it has, as tasks ask for it.';
comment on column public.workers.projects is 'Projects it has a directory for, with the local path.';
comment on column public.workers.draining is 'Gets nothing new while this is set. Can be set here by hand.';
comment on column public.workers.running is 'Leases it held at its last heartbeat.';
comment on column public.workers.registered_at is 'When this process registered.';
comment on column public.workers.seen_at is 'Its last heartbeat.';

create table public.templates (
  system_id text collate "C" not null references public.systems (id) on delete cascade,
  name text collate "C" not null check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  title text not null default '',
  project text,
  prompt text not null check (prompt ~ '\S'),
  role text check (role ~ '^[a-z0-9-]+$'),
  model text,
  priority integer not null default 0 check (priority between -100 and 100),
  labels text[] not null default '{}',
  permission_mode text
    check (permission_mode in ('acceptEdits', 'auto', 'bypassPermissions', 'manual', 'dontAsk', 'plan')),
  allowed_tools text[] not null default '{}',
  disallowed_tools text[] not null default '{}',
  created_at timestamptz not null default ccm.now(),
  updated_at timestamptz not null default ccm.now(),
  primary key (system_id, name)
);
comment on table public.templates is 'Prompts that are used again and again.';
comment on column public.templates.system_id is 'The system.';
comment on column public.templates.name is 'Its name, as callers name it.';
comment on column public.templates.title is 'A name for people.';
comment on column public.templates.project is 'Project of its tasks; empty: named by the caller.';
comment on column public.templates.prompt is 'The prompt.';
comment on column public.templates.role is 'Role of its tasks.';
comment on column public.templates.model is 'Model of its tasks.';
comment on column public.templates.priority is 'Priority of its tasks, -100 to 100.';
comment on column public.templates.labels is 'Labels of its tasks.';
comment on column public.templates.permission_mode is 'As in Claude Code; only narrows what a worker allows.';
comment on column public.templates.allowed_tools is 'As in Claude Code; only narrows what a worker allows.';
comment on column public.templates.disallowed_tools is 'As in Claude Code.';
comment on column public.templates.created_at is 'When it was made.';
comment on column public.templates.updated_at is 'When it was changed last.';

create table public.metrics (
  system_id text collate "C" not null references public.systems (id) on delete cascade,
  worker text collate "C" not null,
  minute timestamptz not null,
  running integer not null default 0,
  queued integer not null default 0,
  succeeded integer not null default 0,
  failed integer not null default 0,
  cancelled integer not null default 0,
  released integer not null default 0,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cost_usd double precision not null default 0,
  primary key (system_id, worker, minute)
);
comment on table public.metrics is 'One row per worker and minute.';
comment on column public.metrics.system_id is 'The system.';
comment on column public.metrics.worker is 'The worker.';
comment on column public.metrics.minute is 'Start of the minute, by the worker''s clock.';
comment on column public.metrics.running is 'Agents at work at the end of the minute.';
comment on column public.metrics.queued is 'Tasks that waited at the end of the minute.';
comment on column public.metrics.succeeded is 'Attempts that succeeded in it.';
comment on column public.metrics.failed is 'Attempts that failed in it.';
comment on column public.metrics.cancelled is 'Attempts that were cancelled in it.';
comment on column public.metrics.released is 'Attempts that were given back in it.';
comment on column public.metrics.input_tokens is 'Tokens that went in.';
comment on column public.metrics.output_tokens is 'Tokens that came out.';
comment on column public.metrics.cost_usd is 'US dollars, where the price is known.';

create table public.incidents (
  system_id text collate "C" not null references public.systems (id) on delete cascade,
  worker text collate "C" not null,
  seq bigint not null,
  task_id text,
  at timestamptz not null,
  kind text not null check (kind ~ '^[a-z][a-z_]{0,39}$'),
  message text not null,
  resolved_at timestamptz,
  data jsonb,
  primary key (system_id, worker, seq)
);
comment on table public.incidents is 'What went wrong on a worker and what it did about it.';
comment on column public.incidents.system_id is 'The system.';
comment on column public.incidents.worker is 'The worker.';
comment on column public.incidents.seq is 'Counted by the worker; the same incident sent twice is stored once.';
comment on column public.incidents.task_id is 'The task it concerns, if any.';
comment on column public.incidents.at is 'When it began, by the worker''s clock.';
comment on column public.incidents.kind is 'A stable name.';
comment on column public.incidents.message is 'One sentence.';
comment on column public.incidents.resolved_at is 'When it was over.';
comment on column public.incidents.data is 'More of it.';

-- A task with what its newest claim adds: what the functions answer with.
create view ccm.task_rows as
select t.*, a.lease_expires_at
from public.tasks as t
  left join public.task_attempts as a
    on a.system_id = t.system_id and a.task_id = t.id and a.attempt = t.attempt and a.outcome is null;
comment on view ccm.task_rows is 'A task and until when its claim holds.';
