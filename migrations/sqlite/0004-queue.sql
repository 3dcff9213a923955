-- The whole queue contract. Lists are JSON arrays of text.

ALTER TABLE tasks ADD COLUMN depends_on TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tasks ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tasks ADD COLUMN max_tokens INTEGER CHECK (max_tokens > 0);
ALTER TABLE tasks ADD COLUMN max_cost_usd REAL CHECK (max_cost_usd > 0);
ALTER TABLE tasks ADD COLUMN in_place INTEGER CHECK (in_place IN (0, 1));
ALTER TABLE tasks ADD COLUMN source TEXT NOT NULL DEFAULT 'api';
ALTER TABLE tasks ADD COLUMN only_worker TEXT;
ALTER TABLE tasks ADD COLUMN resume_worker TEXT;
ALTER TABLE tasks ADD COLUMN resume_until INTEGER;
ALTER TABLE tasks ADD COLUMN claude_session_id TEXT;
-- How often it was released since it was inserted or retried: the backoff of the next release.
ALTER TABLE tasks ADD COLUMN releases INTEGER NOT NULL DEFAULT 0 CHECK (releases >= 0);
UPDATE tasks SET releases =
  (SELECT count(*) FROM task_attempts WHERE task_id = tasks.id AND outcome = 'released');

-- In the order of a claim.
CREATE INDEX tasks_queued ON tasks (system, project, priority DESC, scheduled_at, created_at, id)
  WHERE status = 'queued';
CREATE INDEX tasks_finished ON tasks (system, finished_at) WHERE finished_at IS NOT NULL;

-- An edge goes when its dependency succeeded and was pruned; one to a task that is gone is never met.
CREATE TABLE task_dependencies (
  task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  depends_on TEXT NOT NULL,
  PRIMARY KEY (task_id, depends_on)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_dependencies_on ON task_dependencies (depends_on);

ALTER TABLE project_turns RENAME TO queue_projects;
ALTER TABLE queue_projects ADD COLUMN max_running INTEGER CHECK (max_running > 0);
ALTER TABLE queue_projects ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));

-- The moves that exist, for whoever writes.
CREATE TRIGGER tasks_begin BEFORE INSERT ON tasks
  WHEN NEW.status <> 'queued' OR NEW.attempt <> 0
BEGIN
  SELECT RAISE(ABORT, 'a task begins as queued, with attempt 0');
END;

CREATE TRIGGER tasks_move BEFORE UPDATE OF status, attempt ON tasks
  WHEN NOT CASE OLD.status
    WHEN 'queued' THEN NEW.status = 'running' AND NEW.attempt = OLD.attempt + 1
      OR NEW.status IN ('queued', 'cancelled') AND NEW.attempt = OLD.attempt
    WHEN 'running' THEN NEW.attempt = OLD.attempt
    WHEN 'succeeded' THEN NEW.status = 'succeeded' AND NEW.attempt = OLD.attempt
    ELSE NEW.status IN (OLD.status, 'queued') AND NEW.attempt = OLD.attempt
  END
BEGIN
  SELECT RAISE(ABORT, 'a task cannot move that way');
END;

CREATE TRIGGER tasks_end BEFORE DELETE ON tasks
  WHEN OLD.status IN ('queued', 'running')
BEGIN
  SELECT RAISE(ABORT, 'a task that is not over cannot be deleted');
END;
