-- What a worker of a shared queue must know by itself while that queue does not answer.

-- Tasks as they were claimed: with these an agent is taken back by a daemon that cannot ask for its task.
CREATE TABLE shared_tasks (
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  task TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (task_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX shared_tasks_at ON shared_tasks (at);

-- Tasks this daemon put into the queue itself: what was asked for, as a hash. Only as such they keep rights that a
-- row of somebody else would lose.
CREATE TABLE shared_own (
  task_id TEXT PRIMARY KEY,
  print TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX shared_own_at ON shared_own (at);

-- One row a minute until the queue has it.
CREATE TABLE shared_metrics (
  minute INTEGER PRIMARY KEY,
  running INTEGER NOT NULL,
  queued INTEGER NOT NULL
) STRICT;
