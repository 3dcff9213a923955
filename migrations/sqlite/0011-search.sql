-- What people search for, of each event: prompts, commands, messages, the heads of outputs. Payloads are redacted
-- before they are stored, so this is too.
CREATE VIEW event_texts AS
SELECT id, task_id, substr(CASE hook_event_name
    WHEN 'UserPromptSubmit' THEN payload ->> '$.prompt'
    WHEN 'PreToolUse' THEN concat_ws(' ', payload ->> '$.tool_input.command', payload ->> '$.tool_input.file_path',
      payload ->> '$.tool_input.url', payload ->> '$.tool_input.query', payload ->> '$.tool_input.pattern',
      payload ->> '$.tool_input.prompt', payload ->> '$.tool_input.plan')
    WHEN 'PostToolUse' THEN trim(concat_ws(char(10), detail ->> '$.stdout', detail ->> '$.stderr'), char(10))
    WHEN 'PostToolUseFailure' THEN payload ->> '$.error'
    WHEN 'Stop' THEN payload ->> '$.last_assistant_message'
    WHEN 'SubagentStop' THEN payload ->> '$.last_assistant_message'
    WHEN 'StopFailure' THEN concat_ws(' ', payload ->> '$.error', payload ->> '$.last_assistant_message')
    WHEN 'Notification' THEN payload ->> '$.message'
  END, 1, 20000) AS text
FROM hook_events;

-- Without a copy of the texts. Filled behind the ingest, in the order of ids: an index in the ingest's own commit
-- took two thirds of its rate. How far it got is in meta, written in the same commit. The project is a column of its own, so that a rare project among frequent words
-- costs nothing.
CREATE VIRTUAL TABLE event_search USING fts5(
  text, project, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER hook_events_unsearched AFTER DELETE ON hook_events
BEGIN
  DELETE FROM event_search WHERE rowid = old.id;
END;

CREATE INDEX hook_events_at ON hook_events (at);

-- All that a timeline needs of tool calls that ended, without their payloads.
CREATE INDEX hook_events_ended ON hook_events (task_id, tool, duration_ms, phase, kind, path)
  WHERE phase IN ('tool_use_complete', 'tool_use_error');
