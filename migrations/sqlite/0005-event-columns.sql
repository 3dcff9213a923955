-- What a hook event was, in columns: docs/events.md. One row stays one hook event.

ALTER TABLE hook_events RENAME COLUMN claude_session_id TO session;
-- Claude Code's id of the subagent that acted; NULL: the agent itself.
ALTER TABLE hook_events ADD COLUMN agent_id TEXT;
-- The most specific name, and for tool events also the general one (tool_use_start, _complete, _error).
ALTER TABLE hook_events ADD COLUMN kind TEXT NOT NULL DEFAULT 'unknown';
ALTER TABLE hook_events ADD COLUMN phase TEXT;
ALTER TABLE hook_events ADD COLUMN tool TEXT;
ALTER TABLE hook_events ADD COLUMN tool_use_id TEXT;
ALTER TABLE hook_events ADD COLUMN path TEXT;
-- When what the event tells of began: `at` less its duration.
ALTER TABLE hook_events ADD COLUMN started INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hook_events ADD COLUMN duration_ms INTEGER;
ALTER TABLE hook_events ADD COLUMN exit_code INTEGER;
-- What the kind has besides, as JSON: hashes, lines changed, command, heads of its output.
ALTER TABLE hook_events ADD COLUMN detail TEXT;
-- Bytes of the payload as it came. Truncated ones have the hash of the whole.
ALTER TABLE hook_events ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hook_events ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1));
ALTER TABLE hook_events ADD COLUMN sha256 TEXT;
-- Why the event is not trusted to be what it says, as `foreign-session`; NULL: nothing odd about it.
ALTER TABLE hook_events ADD COLUMN suspect TEXT;

UPDATE hook_events SET
  size = length(CAST(payload AS BLOB)),
  started = at,
  agent_id = payload ->> '$.agent_id',
  tool = payload ->> '$.tool_name',
  tool_use_id = payload ->> '$.tool_use_id',
  kind = CASE hook_event_name
    WHEN 'SessionStart' THEN 'session_start'
    WHEN 'SessionEnd' THEN 'session_complete'
    WHEN 'StopFailure' THEN 'session_error'
    WHEN 'Stop' THEN 'turn_complete'
    WHEN 'UserPromptSubmit' THEN 'prompt_submitted'
    WHEN 'PreToolUse' THEN 'tool_use_start'
    WHEN 'PostToolUse' THEN 'tool_use_complete'
    WHEN 'PostToolUseFailure' THEN 'tool_use_error'
    WHEN 'PermissionRequest' THEN 'permission_asked'
    WHEN 'PermissionDenied' THEN 'permission_denied'
    WHEN 'Notification' THEN 'notification'
    WHEN 'SubagentStart' THEN 'subagent_start'
    WHEN 'SubagentStop' THEN 'subagent_stop'
    WHEN 'Unreadable' THEN 'unreadable'
    ELSE 'unknown'
  END,
  phase = CASE hook_event_name
    WHEN 'PreToolUse' THEN 'tool_use_start'
    WHEN 'PostToolUse' THEN 'tool_use_complete'
    WHEN 'PostToolUseFailure' THEN 'tool_use_error'
  END;

-- Few rows by nature, and counted for `ccm status`.
CREATE INDEX hook_events_odd ON hook_events (kind) WHERE kind IN ('unknown', 'unreadable', 'events_lost');
