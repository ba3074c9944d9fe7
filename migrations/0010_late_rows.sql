-- Which of Babylon's rows were there is decided by what Postgres saw: "createdAt" is the writer's,
-- and an import, a restore or a slow transaction commits rows long after it.
ALTER TABLE training.windows
    ADD COLUMN late_snapshot   pg_snapshot,  -- what the last look for late rows saw
    ADD COLUMN rows_seen       text,         -- the rows of an open window, in short, when last looked at
    ADD COLUMN rows_changed_at timestamptz;  -- when they were first seen to be these
-- Windows of any age are looked at for late rows in turn.
CREATE INDEX windows_late_checked ON training.windows (late_checked_at NULLS FIRST, starts_at)
    WHERE scored_at IS NOT NULL;
