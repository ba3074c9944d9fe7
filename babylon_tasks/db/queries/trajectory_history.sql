-- name: row
-- A row of Babylon's by its trajectory, with what accounts for its window id.
SELECT row.window, w.window_id IS NOT NULL AS has_window, w.rows_pruned_at AS pruned_at,
       u.reason AS unopened
FROM (SELECT coalesce("windowId"::text, {{unopened_windows.id_of_unnamed}}) AS window
      FROM trajectories WHERE "trajectoryId" = %(trajectory)s) AS row
LEFT JOIN training.windows w ON w.window_id = row.window
LEFT JOIN training.unopened_windows u ON u.window_id = row.window

-- name: scores
-- Every score of a trajectory, by window and reward version.
SELECT window_id AS window, reward_version, reward, group_key, scorer
FROM training.scores WHERE trajectory_id = %(trajectory)s
ORDER BY window_id, reward_version

-- part: detail
-- The detail of a rejection (x): where it has none, it is that of the last before it which has one.
coalesce(x.detail, (
    SELECT b.detail FROM training.rejections b
    WHERE b.window_id = x.window_id AND b.reward_version = x.reward_version
      AND b.stage = x.stage AND b.reason = x.reason AND b.lineage IS NOT DISTINCT FROM x.lineage
      AND b.id < x.id AND b.detail IS NOT NULL
    ORDER BY b.id DESC LIMIT 1))

-- name: rejections
-- Every rejection of a trajectory, in order.
SELECT x.window_id AS window, x.reward_version, x.stage, x.reason,
       {{trajectory_history.detail}} AS detail, x.lineage
FROM training.rejections x WHERE x.trajectory_id = %(trajectory)s
ORDER BY x.id

-- name: uses
-- What each lineage has used a trajectory for, and what branches of it that are dead by now.
SELECT c.lineage, c.window_id AS window, c.reward_version, c.use, s.target_step AS step, c.dead_at
FROM training.lineages l
CROSS JOIN LATERAL (
    SELECT * FROM training.consumption
    WHERE lineage = l.name AND trajectory_id = %(trajectory)s AND dead_at IS NULL
    UNION ALL
    SELECT * FROM training.consumption
    WHERE lineage = l.name AND trajectory_id = %(trajectory)s AND dead_at IS NOT NULL) AS c
LEFT JOIN training.steps s ON s.id = c.step_id
ORDER BY c.lineage, c.dead_at NULLS FIRST, step
