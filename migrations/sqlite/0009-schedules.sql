-- Recurring tasks: see src/core/schedule.ts.

CREATE TABLE schedules (
  -- AUTOINCREMENT: the id is part of dedupe keys, so it is never given twice.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  project TEXT NOT NULL,
  cron TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  missed TEXT NOT NULL CHECK (missed IN ('skip', 'run-once')),
  overlap INTEGER NOT NULL CHECK (overlap IN (0, 1)),
  paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
  task TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  settled_until INTEGER NOT NULL
) STRICT;

-- What became of each time. The primary key is what makes a time run once, also after the clock was set back.
CREATE TABLE schedule_runs (
  schedule_id INTEGER NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
  due_at INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('queued', 'skipped', 'missed', 'failed')),
  task_id TEXT,
  reason TEXT,
  PRIMARY KEY (schedule_id, due_at)
) STRICT;
