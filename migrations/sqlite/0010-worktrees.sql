-- The git worktree of a task, over all its attempts. `facts` is JSON: what no statement asks for.
CREATE TABLE worktrees (
  task_id TEXT PRIMARY KEY,
  phase TEXT NOT NULL
    CHECK (phase IN ('making', 'ready', 'committed', 'closed', 'kept', 'merged', 'discarded')),
  facts TEXT NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX worktrees_there ON worktrees (task_id) WHERE phase IN ('making', 'ready', 'committed', 'kept');
