-- By itself the index merges its parts in the commit that makes it due: one commit that removed 200 events took up to
-- a second, one that added 64 up to 20 ms. Now it is merged by the page, when the daemon has time.
INSERT INTO event_search (event_search, rank) VALUES ('automerge', 0);
