-- What agents do not use is trained on by nothing: its branch is dead, and what its steps used can be
-- used again, once by each branch.
ALTER TABLE training.checkpoints
    ADD COLUMN dead_at      timestamptz,  -- no step starts from it, or from what was trained from it
    ADD COLUMN discarded_at timestamptz,  -- it is gone from a backend that trains on from its newest only
    ADD COLUMN backend_step integer;      -- its number there; NULL: its own
CREATE INDEX checkpoints_dead ON training.checkpoints (lineage) WHERE dead_at IS NOT NULL;

ALTER TABLE training.consumption
    DROP CONSTRAINT consumption_pkey,
    ADD COLUMN id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN dead_at timestamptz;  -- its step's branch is dead
CREATE UNIQUE INDEX consumption_once ON training.consumption (lineage, trajectory_id)
    WHERE dead_at IS NULL;
CREATE INDEX consumption_dead ON training.consumption (lineage, trajectory_id)
    WHERE dead_at IS NOT NULL;
DROP INDEX training.consumption_step;
CREATE UNIQUE INDEX consumption_of_step ON training.consumption (step_id, trajectory_id);

-- As it was, without the uses of dead branches.
CREATE OR REPLACE VIEW training.use_counts AS
SELECT u.window_id, u.lineage, u.reward_version, u.use, count(*) AS count
FROM training.consumption u
WHERE u.dead_at IS NULL
  AND NOT EXISTS (SELECT FROM training.windows w
                  WHERE w.window_id = u.window_id AND w.rows_pruned_at IS NOT NULL)
GROUP BY u.window_id, u.lineage, u.reward_version, u.use
UNION ALL
SELECT w.window_id, c.lineage, c.reward_version, c.use, c.count
FROM training.windows w
CROSS JOIN LATERAL jsonb_to_recordset(w.row_counts -> 'uses')
    AS c (lineage text, reward_version integer, use text, count bigint)
WHERE w.rows_pruned_at IS NOT NULL;
