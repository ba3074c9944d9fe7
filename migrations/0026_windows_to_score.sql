-- What waits to be scored is asked for after each window, so it must not be looked for among the
-- scored ones that wait for a step.
CREATE INDEX windows_to_score ON training.windows (starts_at)
    WHERE state IN ('sealed', 'scoring');
