-- Each claim and each report moved an entry of tasks_status and of tasks_counts. Of what is queued and what runs there
-- is little, with an index of its own; what is over gets its entries once. What succeeded is most of all, so a list
-- of it is read by id.
DROP INDEX tasks_status;
DROP INDEX tasks_counts;
CREATE INDEX tasks_running ON tasks (system, project) WHERE status = 'running';
CREATE INDEX tasks_ended_badly ON tasks (system, status, id) WHERE status IN ('failed', 'cancelled', 'dead');
CREATE INDEX tasks_ended ON tasks (system, project, status)
  WHERE status IN ('succeeded', 'failed', 'cancelled', 'dead');
