-- Every recovery and every alert, once. It is open until what happened is over.
CREATE TABLE incidents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  -- What it is about: one open incident a key.
  key TEXT NOT NULL,
  what TEXT NOT NULL,
  evidence TEXT NOT NULL,
  action TEXT NOT NULL,
  alert INTEGER NOT NULL CHECK (alert IN (0, 1)),
  task_id TEXT,
  attempt INTEGER,
  opened_at INTEGER NOT NULL,
  closed_at INTEGER
) STRICT;

CREATE UNIQUE INDEX incidents_open ON incidents (key) WHERE closed_at IS NULL;

-- Messages about alerts: written with the incident, sent until delivered or given up. State is
-- 'pending', 'delivered' or 'given_up'.
CREATE TABLE notices (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  incident_id INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  notifier TEXT NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('opened', 'resolved')),
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'given_up')),
  tries INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  error TEXT,
  UNIQUE (incident_id, notifier, phase)
) STRICT;

CREATE INDEX notices_pending ON notices (id) WHERE state = 'pending';

-- Whether the attempt went on with the session of the one before, and how it ended (core's kinds of ends).
ALTER TABLE attempts ADD COLUMN resumed INTEGER NOT NULL DEFAULT 0 CHECK (resumed IN (0, 1));
ALTER TABLE attempts ADD COLUMN end_kind TEXT;
CREATE INDEX attempts_settled ON attempts (settled_at) WHERE settled_at IS NOT NULL;
