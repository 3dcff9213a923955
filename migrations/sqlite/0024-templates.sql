-- Task templates that came through the API, as JSON. One of the configuration with the same name goes before.
CREATE TABLE templates (
  name TEXT PRIMARY KEY,
  template TEXT NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;
