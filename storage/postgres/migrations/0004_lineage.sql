-- The server, and its timeline, that the last revisions were written on: a
-- server that takes over has another timeline, a restored copy another server.
ALTER TABLE yare_state ADD COLUMN lineage text;
