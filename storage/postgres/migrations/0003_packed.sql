-- Values come packed, and need not be tried again. The column has another name,
-- for a server from before would take a packed value for the value: it fails.
ALTER TABLE yare_current RENAME COLUMN value TO content;
ALTER TABLE yare_current ALTER content SET STORAGE EXTERNAL;
ALTER TABLE yare_revisions ALTER was SET STORAGE EXTERNAL;

-- Rows of up to half a page have all in them; four of a common size share one
-- with room for a new version.
ALTER TABLE yare_current SET (toast_tuple_target = 4080, fillfactor = 80);
