-- name: overview
-- What Babylon has recorded, by window, with the window's state and reason; newest first.
SELECT recorded.window_id AS window, w.state, coalesce(w.reason, u.reason) AS reason, w.held_out,
       w.scored_at IS NOT NULL AS decided, w.rows_pruned_at IS NOT NULL AS pruned,
       coalesce(w.reward_version, 1) AS reward_version, recorded.trajectories, recorded.agents
FROM (
    SELECT window_id, count(*) AS trajectories, count(DISTINCT agent) AS agents
    FROM (
        SELECT "windowId"::text AS window_id, "agentId" AS agent FROM trajectories
        WHERE "windowId" >= coalesce(%(since)s::text, '')
        UNION ALL
        SELECT {{unopened_windows.id_of_unnamed}}, "agentId" FROM trajectories
        WHERE "windowId" IS NULL AND "startTime" >= coalesce(%(since)s::timestamp, '-infinity')
    ) AS rows
    WHERE window_id >= coalesce(%(since)s::text, '')
    GROUP BY window_id
) AS recorded
LEFT JOIN training.windows w
       ON w.window_id = recorded.window_id AND w.window_id >= coalesce(%(since)s::text, '')
LEFT JOIN training.unopened_windows u ON u.window_id = recorded.window_id
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

-- name: for_a_warm_start
-- Scores of a window that a supervised step may choose from: those that the lineage has not used.
SELECT count(*)
FROM training.windows w
{{lineage_windows.mine}}
JOIN training.scores s ON s.window_id = w.window_id AND s.reward_version = w.reward_version
WHERE w.window_id = %(window)s AND {{lineage_windows.rewarded}}
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.lineage = %(lineage)s AND c.trajectory_id = s.trajectory_id
                    AND c.dead_at IS NULL)
