-- Tasks by project and status are counted at each scrape of the metrics: from this index, without reading them.
CREATE INDEX tasks_counts ON tasks (system, project, status);

-- Sums over all messages, kept as they come: adding up 200,000 rows took 200 ms.
CREATE TABLE spending_totals (
  project TEXT NOT NULL,
  model TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cost_usd REAL NOT NULL,
  PRIMARY KEY (project, model)
) STRICT, WITHOUT ROWID;

INSERT INTO spending_totals
  SELECT project, model, sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    total(cost_usd) FROM spending GROUP BY project, model;

CREATE TRIGGER spending_added AFTER INSERT ON spending
BEGIN
  INSERT INTO spending_totals VALUES (NEW.project, NEW.model, NEW.input_tokens, NEW.output_tokens,
    NEW.cache_read_tokens, NEW.cache_write_tokens, coalesce(NEW.cost_usd, 0))
  ON CONFLICT (project, model) DO UPDATE SET
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    cost_usd = cost_usd + excluded.cost_usd;
END;

-- A message that streams is stored again with what it has used by then.
CREATE TRIGGER spending_grown AFTER UPDATE ON spending
BEGIN
  UPDATE spending_totals SET
    input_tokens = input_tokens + NEW.input_tokens - OLD.input_tokens,
    output_tokens = output_tokens + NEW.output_tokens - OLD.output_tokens,
    cache_read_tokens = cache_read_tokens + NEW.cache_read_tokens - OLD.cache_read_tokens,
    cache_write_tokens = cache_write_tokens + NEW.cache_write_tokens - OLD.cache_write_tokens,
    cost_usd = cost_usd + coalesce(NEW.cost_usd, 0) - coalesce(OLD.cost_usd, 0)
  WHERE project = NEW.project AND model = NEW.model;
END;
