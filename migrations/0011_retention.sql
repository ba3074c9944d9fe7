-- Old checkpoints and old rows go, so that neither the disk nor the database grows without end.
ALTER TABLE training.checkpoints
    ADD COLUMN pruned_at  timestamptz,  -- its files are about to go, or gone: it never serves again
    ADD COLUMN deleted_at timestamptz;  -- they are gone
CREATE INDEX checkpoints_to_delete ON training.checkpoints (lineage)
    WHERE pruned_at IS NOT NULL AND deleted_at IS NULL;

-- Once its rows in scores, rejections, consumption and bets are gone, a window is never scored or
-- trained again, nor is a trajectory that began in its hour: it may have been used.
ALTER TABLE training.windows
    ADD COLUMN rows_pruned_at timestamptz,
    ADD COLUMN row_counts     jsonb;     -- what they said, for reports
CREATE INDEX windows_ended ON training.windows (updated_at)
    WHERE rows_pruned_at IS NULL AND state IN ('trained', 'skipped', 'held_out');
CREATE INDEX windows_not_pruned ON training.windows (window_id) WHERE rows_pruned_at IS NULL;

-- How often trajectories of a window were rejected for a reason; the first one is the example.
CREATE VIEW training.rejection_counts AS
SELECT g.window_id, g.reward_version, g.stage, g.reason, g.count,
       r.trajectory_id AS example, r.detail
FROM (SELECT window_id, reward_version, stage, reason, count(*) AS count, min(id) AS first
      FROM training.rejections GROUP BY window_id, reward_version, stage, reason) g
JOIN training.rejections r ON r.id = g.first
WHERE NOT EXISTS (SELECT FROM training.windows w
                  WHERE w.window_id = g.window_id AND w.rows_pruned_at IS NOT NULL)
UNION ALL
SELECT w.window_id, c.reward_version, c.stage, c.reason, c.count, c.example, c.detail
FROM training.windows w
CROSS JOIN LATERAL jsonb_to_recordset(w.row_counts -> 'rejections')
    AS c (reward_version integer, stage text, reason text, count bigint, example text, detail text)
WHERE w.rows_pruned_at IS NOT NULL;

-- How many trajectories of a window, with which reward version, a lineage has used as what.
CREATE VIEW training.use_counts AS
SELECT u.window_id, u.lineage, u.reward_version, u.use, count(*) AS count
FROM training.consumption u
WHERE NOT EXISTS (SELECT FROM training.windows w
                  WHERE w.window_id = u.window_id AND w.rows_pruned_at IS NOT NULL)
GROUP BY u.window_id, u.lineage, u.reward_version, u.use
UNION ALL
SELECT w.window_id, c.lineage, c.reward_version, c.use, c.count
FROM training.windows w
CROSS JOIN LATERAL jsonb_to_recordset(w.row_counts -> 'uses')
    AS c (lineage text, reward_version integer, use text, count bigint)
WHERE w.rows_pruned_at IS NOT NULL;
