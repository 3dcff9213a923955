-- One row an API message: an attempt that resumes a session reads the same messages again, and counts none twice.
CREATE TABLE spending (
  task_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  project TEXT NOT NULL,
  model TEXT NOT NULL,
  at INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  tokens INTEGER GENERATED ALWAYS AS (input_tokens + output_tokens + cache_read_tokens + cache_write_tokens) VIRTUAL,
  -- NULL: the price of the model is not known.
  cost_usd REAL,
  PRIMARY KEY (task_id, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX spending_project_at ON spending (project, at);
CREATE INDEX spending_at ON spending (at);
