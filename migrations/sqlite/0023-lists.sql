-- Lists are chosen from an index alone. In the order of their end, whatever they are narrowed to:
DROP INDEX tasks_finished;
CREATE INDEX tasks_finished ON tasks (system, finished_at, id, status, project) WHERE finished_at IS NOT NULL;
-- What succeeded is most of all, but not where much fails: without an index it was looked for among all rows.
CREATE INDEX tasks_succeeded ON tasks (system, id, project) WHERE status = 'succeeded';

-- Who may enter some projects sees only their incidents: looked up at the time, as tasks go.
ALTER TABLE incidents ADD COLUMN project TEXT;
UPDATE incidents SET project = coalesce(
  (SELECT project FROM tasks WHERE id = task_id),
  (SELECT task ->> 'project' FROM shared_tasks WHERE shared_tasks.task_id = incidents.task_id LIMIT 1));
