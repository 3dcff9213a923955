-- All times are integer milliseconds since 1970. STRICT refuses a fraction of one.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE projects (
  name TEXT PRIMARY KEY,
  dir TEXT NOT NULL UNIQUE,
  trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
  model TEXT,
  permission_mode TEXT,
  allowed_tools TEXT NOT NULL,
  disallowed_tools TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- The embedded queue. Its rows never refer to the tables of one daemon below.

CREATE TABLE workers (
  system TEXT NOT NULL,
  worker TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  registered_at INTEGER NOT NULL,
  PRIMARY KEY (system, worker)
) STRICT;

CREATE TABLE tasks (
  id TEXT PRIMARY KEY,
  system TEXT NOT NULL,
  project TEXT NOT NULL,
  prompt TEXT NOT NULL,
  role TEXT,
  model TEXT,
  priority INTEGER NOT NULL CHECK (priority BETWEEN -100 AND 100),
  timeout_s INTEGER,
  permission_mode TEXT,
  allowed_tools TEXT NOT NULL,
  disallowed_tools TEXT NOT NULL,
  dedupe_key TEXT,
  status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')),
  attempt INTEGER NOT NULL,
  worker TEXT,
  failures INTEGER NOT NULL,
  lost_leases INTEGER NOT NULL,
  scheduled_at INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
  cancel_reason TEXT,
  lease_expires_at INTEGER,
  result TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  CHECK ((status = 'running') = (lease_expires_at IS NOT NULL)),
  CHECK (status <> 'running' OR worker IS NOT NULL),
  CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled', 'dead')))
) STRICT;

CREATE UNIQUE INDEX tasks_dedupe ON tasks (system, dedupe_key)
  WHERE dedupe_key IS NOT NULL AND status IN ('queued', 'running');
CREATE INDEX tasks_status ON tasks (system, status, id);

-- One row a claim: what a report is checked against, for ever.
CREATE TABLE task_attempts (
  task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  worker TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  claimed_at INTEGER NOT NULL,
  ended_at INTEGER,
  -- An outcome of core/queue.ts, or 'lost' when the lease was taken back.
  outcome TEXT,
  error TEXT,
  PRIMARY KEY (task_id, attempt)
) STRICT;

-- Which project was served last: equal priorities go round.
CREATE TABLE project_turns (
  system TEXT NOT NULL,
  project TEXT NOT NULL,
  turn INTEGER NOT NULL,
  PRIMARY KEY (system, project)
) STRICT;

-- What one daemon knows about its agents. The task may live in another store, so there is no reference to it.

CREATE TABLE attempts (
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('claimed', 'starting', 'started', 'settled', 'reported')),
  dir TEXT NOT NULL,
  folder TEXT NOT NULL,
  claude_session_id TEXT NOT NULL,
  config_dir TEXT,
  permission_mode TEXT NOT NULL,
  server_pid INTEGER,
  server_started_at INTEGER,
  window_id TEXT,
  pane_id TEXT,
  window_name TEXT,
  state TEXT NOT NULL,
  wait_kind TEXT,
  state_reason TEXT NOT NULL,
  state_at INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  settled_at INTEGER,
  PRIMARY KEY (task_id, attempt)
) STRICT;

CREATE INDEX attempts_open ON attempts (started_at) WHERE phase IN ('claimed', 'starting', 'started');

-- AUTOINCREMENT, here and below: ids are cursors of readers and are never given twice.
CREATE TABLE state_changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  cue TEXT NOT NULL,
  reason TEXT NOT NULL,
  source TEXT NOT NULL,
  evidence TEXT NOT NULL,
  FOREIGN KEY (task_id, attempt) REFERENCES attempts (task_id, attempt) ON DELETE CASCADE
) STRICT;

CREATE INDEX state_changes_task ON state_changes (task_id, id);

-- file_name is the event's identity: a spool file that is read twice is stored once.
CREATE TABLE hook_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  file_name TEXT NOT NULL UNIQUE,
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  claude_session_id TEXT,
  hook_event_name TEXT NOT NULL,
  at INTEGER NOT NULL,
  payload TEXT NOT NULL
) STRICT;

CREATE INDEX hook_events_task ON hook_events (task_id, id);

-- Written in the transaction that settles an attempt; resent until the queue answered.
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  report TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  delivered_at INTEGER,
  UNIQUE (task_id, attempt),
  FOREIGN KEY (task_id, attempt) REFERENCES attempts (task_id, attempt) ON DELETE CASCADE
) STRICT;

CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_at IS NULL;
