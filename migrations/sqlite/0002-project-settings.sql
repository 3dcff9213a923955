-- What a project sets for its tasks: see ProjectSettings in src/core/project.ts. Lists are JSON.

ALTER TABLE projects ADD COLUMN max_running INTEGER CHECK (max_running >= 1);
ALTER TABLE projects ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));
ALTER TABLE projects ADD COLUMN timeout_s INTEGER CHECK (timeout_s >= 1);
ALTER TABLE projects ADD COLUMN priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100);
ALTER TABLE projects ADD COLUMN in_place INTEGER NOT NULL DEFAULT 0 CHECK (in_place IN (0, 1));
ALTER TABLE projects ADD COLUMN setup TEXT NOT NULL DEFAULT '[]';
ALTER TABLE projects ADD COLUMN setup_timeout_s INTEGER CHECK (setup_timeout_s >= 1);
ALTER TABLE projects ADD COLUMN copy TEXT NOT NULL DEFAULT '[]';
ALTER TABLE projects ADD COLUMN link TEXT NOT NULL DEFAULT '[]';
ALTER TABLE projects ADD COLUMN max_tokens INTEGER CHECK (max_tokens >= 1);
ALTER TABLE projects ADD COLUMN max_cost_usd REAL CHECK (max_cost_usd > 0);
ALTER TABLE projects ADD COLUMN max_tokens_per_day INTEGER CHECK (max_tokens_per_day >= 1);
ALTER TABLE projects ADD COLUMN max_cost_usd_per_day REAL CHECK (max_cost_usd_per_day > 0);
