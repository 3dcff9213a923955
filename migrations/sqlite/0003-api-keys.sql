-- Of a key only the SHA-256 of its secret (hex) is kept: it has 256 random bits, so nothing slower is needed.
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash TEXT NOT NULL,
  scopes TEXT NOT NULL,
  projects TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  revoked_at INTEGER
) STRICT;

-- A user's tokens that were issued until then are refused, whatever their own end.
CREATE TABLE revoked_users (
  id TEXT PRIMARY KEY,
  revoked_at INTEGER NOT NULL
) STRICT;
