-- Cancels that were asked for while the shared queue did not answer, until it has heard of them, in the order in which
-- they were asked for.
CREATE TABLE noted_cancels (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id TEXT NOT NULL UNIQUE,
  reason TEXT NOT NULL,
  -- The task as this machine knew it, as JSON; NULL: it knew nothing of it.
  task TEXT,
  at INTEGER NOT NULL
) STRICT;
