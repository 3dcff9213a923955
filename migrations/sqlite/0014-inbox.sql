-- What came from outside and is to become a task: accepted here before anybody is told that it was.
CREATE TABLE inbox (
  -- AUTOINCREMENT: the order of arrival, and never given twice.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  -- Of the delivery; the dedupe key of the task as well.
  key TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  project TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'pending', 'inserted', 'refused')),
  title TEXT NOT NULL,
  sender TEXT,
  -- The task as JSON, and where its answer goes to.
  request TEXT NOT NULL,
  origin TEXT NOT NULL,
  task_id TEXT,
  reason TEXT,
  decided_by TEXT,
  tries INTEGER NOT NULL DEFAULT 0,
  due_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  settled_at INTEGER,
  -- What its sender was told last, under which id, and when the next try is due; NULL: nothing to tell.
  told TEXT,
  told_ref TEXT,
  tell_tries INTEGER NOT NULL DEFAULT 0,
  tell_due_at INTEGER
) STRICT;

CREATE INDEX inbox_state ON inbox (state, id);
CREATE INDEX inbox_task ON inbox (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX inbox_tell ON inbox (tell_due_at) WHERE tell_due_at IS NOT NULL;
