-- What beat asks each minute reads the windows and steps concerned, not all that are finished.
CREATE INDEX windows_starts_at ON training.windows (starts_at);
CREATE INDEX windows_scored_at ON training.windows (scored_at);
CREATE INDEX windows_waits_until ON training.windows (waits_until) WHERE waits_until IS NOT NULL;
CREATE INDEX windows_postponed ON training.windows (waits_until)
    WHERE reason IS NOT NULL AND waits_until IS NOT NULL;
CREATE INDEX steps_unfinished ON training.steps (lineage)
    WHERE state IN ('planned', 'running', 'trained');

-- A column that no statement of any version names: a pod of an older version does not miss it.
ALTER TABLE training.scores DROP COLUMN scored_at;
