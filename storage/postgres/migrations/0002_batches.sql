-- A random number that the revisions of one transaction have in common. Where a
-- revision has another one than was seen, the database has gone back, and then
-- another way: it was restored, or a standby took over that lagged behind.
ALTER TABLE yare_revisions ADD COLUMN batch bigint;
