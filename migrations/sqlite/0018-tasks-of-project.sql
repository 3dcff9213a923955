-- A project's tasks, newest first: without it a small project was looked for among all tasks. Its columns never change,
-- so only an insert pays for it.
CREATE INDEX tasks_of_project ON tasks (system, project, id);
