-- Beginning with the system, the index looked good to SQLite for every list: it then sorted all tasks.
DROP INDEX tasks_of_project;
CREATE INDEX tasks_by_project ON tasks (project, id);
