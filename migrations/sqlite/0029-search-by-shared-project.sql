-- Of tasks in a shared queue the index had no project, so that a search within one found nothing. It is filled again,
-- behind the ingest as ever.
INSERT INTO event_search (event_search) SELECT 'delete-all' WHERE EXISTS (SELECT 1 FROM shared_tasks);
DELETE FROM meta WHERE key = 'search_indexed' AND EXISTS (SELECT 1 FROM shared_tasks);
