-- Time of an attempt that counts for no deadline, besides what it waited for people: a person was at its window, or the
-- machine slept. The next daemon has to know it, or its deadlines strike early.
ALTER TABLE attempts ADD COLUMN paused_ms INTEGER NOT NULL DEFAULT 0;
