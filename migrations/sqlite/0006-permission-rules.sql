-- What answers the permission requests of a project's agents. One rule has one effect; the oldest comes first.
CREATE TABLE permission_rules (
  id INTEGER PRIMARY KEY,
  project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE ON UPDATE CASCADE,
  effect TEXT NOT NULL CHECK (effect IN ('allow', 'deny', 'ask')),
  rule TEXT NOT NULL,
  UNIQUE (project, rule)
) STRICT;
