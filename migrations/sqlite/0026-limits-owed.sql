-- Whether a project's max_running or paused was set here and the queue has not heard of it: in a queue that is shared
-- they belong to all machines, and only what somebody has set may change them there.
ALTER TABLE projects ADD COLUMN limits_owed INTEGER NOT NULL DEFAULT 0;
