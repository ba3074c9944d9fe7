-- name: overview
-- What Babylon has recorded, by window, with the window's state and reason; newest first.
SELECT recorded.window_id AS window, w.state, coalesce(w.reason, u.reason) AS reason, w.held_out,
       w.scored_at IS NOT NULL AS decided, w.rows_pruned_at IS NOT NULL AS pruned,
       coalesce(w.reward_version, 1) AS reward_version, recorded.trajectories, recorded.agents
FROM (
    SELECT coalesce("windowId", {{unopened_windows.id_of_unnamed}}) AS window_id,
           count(*) AS trajectories, count(DISTINCT "agentId") AS agents
    FROM trajectories
    GROUP BY 1
) AS recorded
LEFT JOIN training.windows w USING (window_id)
LEFT JOIN training.unopened_windows u USING (window_id)
WHERE %(since)s::text IS NULL OR recorded.window_id >= %(since)s
ORDER BY recorded.window_id DESC
LIMIT %(limit)s

-- name: is_migrated
-- Whether `babylon-tasks migrate` has been run here.
SELECT to_regclass('training.windows') IS NOT NULL

-- name: overview_before_migration
-- The same for a database with Babylon's tables and none of ours.
SELECT coalesce("windowId", {{unopened_windows.id_of_unnamed}}) AS window,
       NULL AS state, NULL AS reason, NULL AS held_out, false AS decided, false AS pruned,
       1 AS reward_version,
       count(*) AS trajectories, count(DISTINCT "agentId") AS agents
FROM trajectories
GROUP BY 1
HAVING %(since)s::text IS NULL
    OR coalesce("windowId", {{unopened_windows.id_of_unnamed}}) >= %(since)s
ORDER BY 1 DESC
LIMIT %(limit)s

-- name: newest_sealed
-- The newest window that planning compares the others' age with.
SELECT max(starts_at) FROM training.windows WHERE state <> 'open'

-- name: usable
-- Scores of a window that no later stage has rejected for the lineage.
SELECT coalesce(
    (SELECT coalesce(w.row_counts -> 'usable_by' -> %(lineage)s, w.row_counts -> 'usable')::bigint
     FROM training.windows w
     WHERE w.window_id = %(window)s AND w.rows_pruned_at IS NOT NULL),
    (SELECT count(*) FROM training.scores s
     WHERE s.window_id = %(window)s AND s.reward_version = %(version)s
       AND NOT EXISTS (SELECT FROM training.rejections r
                       WHERE r.trajectory_id = s.trajectory_id AND r.reward_version = s.reward_version
                         AND r.stage = 'dataset'
                         AND coalesce(r.lineage, %(lineage)s) = %(lineage)s)))

-- name: rejected
-- Trajectories of a window that are not used, by reason.
SELECT counted.reason, sum(counted.count)::bigint
FROM training.windows w CROSS JOIN LATERAL {{reports.rejections}} counted
WHERE w.window_id = %(window)s
GROUP BY counted.reason
ORDER BY 2 DESC, 1
