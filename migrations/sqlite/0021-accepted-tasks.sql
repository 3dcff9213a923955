-- Tasks that came while the shared queue did not answer, until it has them. A row goes once the queue has the task under
-- the same id; one that was cancelled or refused before, or is another task there, stays a while to be asked for.
CREATE TABLE accepted_tasks (
  -- In the order of arrival, which is the order in which they are handed over.
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  -- By which the queue knows it when it comes again.
  request_key TEXT NOT NULL,
  dedupe_key TEXT,
  -- What was asked for, as JSON.
  task TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'handed', 'cancelled', 'refused')),
  -- 1: the queue may have it already, for it was sent and no answer came.
  sent INTEGER NOT NULL DEFAULT 0,
  -- Set while it waits: the queue is told of the cancel right after the task.
  cancel_reason TEXT,
  -- The task it became, where that has another id.
  task_id TEXT,
  -- Why it was cancelled or refused.
  reason TEXT,
  accepted_at INTEGER NOT NULL,
  settled_at INTEGER
) STRICT;
CREATE INDEX accepted_tasks_waiting ON accepted_tasks (seq) WHERE state = 'waiting';
