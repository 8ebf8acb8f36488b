CREATE TABLE yare_schema (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL
);
INSERT INTO yare_schema (version) VALUES (1);

-- The revision of the last commit. A writer locks the row before it looks at
-- anything else, and releases it by committing.
CREATE TABLE yare_state (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO yare_state (revision) VALUES (1);

-- What is compacted, what will be next, and when that was decided. Apart from
-- yare_state, so that compaction does not wait for writers nor they for it.
CREATE TABLE yare_compaction (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    compacted bigint NOT NULL,
    next      bigint NOT NULL,
    at        timestamptz NOT NULL
);
INSERT INTO yare_compaction (compacted, next, at) VALUES (0, 0, now());

-- What is there now. A page keeps room for a new version of a row, which then
-- takes no change of an index.
CREATE TABLE yare_current (
    key      bytea PRIMARY KEY,
    revision bigint NOT NULL,
    expires  timestamptz,
    value    bytea NOT NULL
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX yare_current_expires ON yare_current (expires) WHERE expires IS NOT NULL;

-- One row for each revision: which key it wrote, and what it replaced. The
-- value it wrote is in the row of the revision that replaced it, or in
-- yare_current while none has.
CREATE TABLE yare_revisions (
    revision bigint PRIMARY KEY,
    previous bigint,
    deleted  boolean NOT NULL,
    key      bytea NOT NULL,
    was      bytea
) PARTITION BY RANGE (revision);
CREATE INDEX yare_revisions_previous ON yare_revisions (previous) WHERE previous IS NOT NULL;

-- The partitions of yare_revisions: each has the revisions from first up to,
-- not including, past.
CREATE TABLE yare_partitions (
    first bigint PRIMARY KEY,
    past  bigint NOT NULL
);

DO $$
BEGIN
    ALTER TABLE yare_current ALTER value SET COMPRESSION lz4;
    ALTER TABLE yare_revisions ALTER was SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    -- This PostgreSQL was built without lz4: its own compression serves.
    NULL;
END
$$;
