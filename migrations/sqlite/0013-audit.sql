-- Every change that somebody asked for: who, what, from where, and what became of it. Only ever added to.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT,
  task_id TEXT,
  project TEXT,
  origin TEXT NOT NULL,
  status INTEGER NOT NULL,
  code TEXT,
  request_id TEXT
) STRICT;

CREATE INDEX audit_at ON audit (at);

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit log is only added to');
END;

-- Old entries are pruned; what happened within a week cannot be taken away, whatever the configuration says.
CREATE TRIGGER audit_kept BEFORE DELETE ON audit
  WHEN OLD.at > CAST(unixepoch('subsec') * 1000 AS INTEGER) - 604800000
BEGIN
  SELECT RAISE(ABORT, 'an entry of the audit log is kept for a week at least');
END;
