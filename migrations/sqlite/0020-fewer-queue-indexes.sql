-- What succeeded is what a project has had, less the rest: it needs no index of its own, which each report paid for.
DROP INDEX tasks_ended;
DROP INDEX tasks_ended_badly;
CREATE INDEX tasks_ended_badly ON tasks (system, status, id, project) WHERE status IN ('failed', 'cancelled', 'dead');
-- With the system at its end, so that tasks of a project are counted from it alone.
DROP INDEX tasks_by_project;
CREATE INDEX tasks_by_project ON tasks (project, id, system);
