-- What a lineage has done with a window, where the database has more than one: training.windows
-- then says what the window is for all of them together. The only lineage writes no rows, so
-- that a pod of an older version beside it sees and writes what it always did.
CREATE TABLE training.lineage_windows (
    window_id       varchar(50) NOT NULL REFERENCES training.windows (window_id) ON DELETE CASCADE,
    lineage         text        NOT NULL REFERENCES training.lineages (name),
    state           text        NOT NULL DEFAULT 'scored' CHECK (state IN
        ('scored', 'trained', 'skipped', 'failed')),  -- scored: it may take it; training: training.steps
    reason          text,
    training_tries  integer     NOT NULL DEFAULT 0,
    left_over       integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    enqueued_at     timestamptz,
    trained_at      timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (window_id, lineage)
);

-- What planning refuses, it refuses for its own lineage. NULL: refused for every lineage, by
-- scoring, or by planning before this migration, when there could be one only.
ALTER TABLE training.rejections ADD COLUMN lineage text;
CREATE UNIQUE INDEX rejections_once ON training.rejections
    (trajectory_id, reward_version, window_id, stage, reason, coalesce(lineage, ''));
DO $$
BEGIN  -- its name is one that Postgres has shortened
    EXECUTE (SELECT 'ALTER TABLE training.rejections DROP CONSTRAINT ' || quote_ident(conname)
             FROM pg_constraint
             WHERE conrelid = 'training.rejections'::regclass AND contype = 'u');
END
$$;
