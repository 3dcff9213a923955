-- Until when alerts fired, as it was heard last: that one fires may be heard later still, from another replica or of a
-- retry.
CREATE TABLE alert_ends (
  fingerprint TEXT PRIMARY KEY,
  ended_at INTEGER NOT NULL,
  heard_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When the task of a request was seen to be over; it is not asked for again to know how many are open.
ALTER TABLE inbox ADD COLUMN over_at INTEGER;
CREATE INDEX inbox_open ON inbox (source) WHERE state <> 'refused' AND over_at IS NULL;
CREATE INDEX inbox_issue ON inbox (origin ->> 'repository', origin ->> 'number') WHERE source = 'github';
