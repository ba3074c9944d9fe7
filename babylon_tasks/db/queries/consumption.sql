-- name: consume
-- Mark trajectories as used for the lineage, permanently.
INSERT INTO training.consumption (lineage, step_id, trajectory_id, reward_version, window_id, use)
SELECT %(lineage)s, %(step_id)s, used.trajectory_id, used.reward_version, used.window_id, used.use
FROM jsonb_to_recordset(%(uses)s)
     AS used (trajectory_id text, reward_version int, window_id text, use text)

-- name: reject
-- Record why trajectories are left out of a lineage's steps. A detail that repeats is written once: the
-- rows after it, of the same stage and reason, have none (trajectory_history.detail).
INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason, detail,
                                 lineage)
SELECT refused.trajectory_id, %(window)s, %(version)s, refused.stage, refused.reason,
       CASE WHEN refused.place = refused.first THEN refused.detail END, %(lineage)s
FROM (
    SELECT asked.*, min(asked.place) OVER (PARTITION BY stage, reason, detail) AS first
    FROM ROWS FROM (
        jsonb_to_recordset(%(rejections)s)
        AS (trajectory_id text, stage text, reason text, detail text)
    ) WITH ORDINALITY AS asked (trajectory_id, stage, reason, detail, place)
    -- Not by the conflict alone: it might leave out the row with the detail.
    WHERE NOT EXISTS (SELECT FROM training.rejections r
                      WHERE r.trajectory_id = asked.trajectory_id AND r.window_id = %(window)s
                        AND r.reward_version = %(version)s AND r.stage = asked.stage
                        AND r.reason = asked.reason AND coalesce(r.lineage, '') = %(lineage)s)
) AS refused
ORDER BY refused.first, refused.place
ON CONFLICT DO NOTHING

-- name: began_in_pruned
-- Those of some trajectories that began in an hour whose rows are pruned, with that hour.
SELECT t."trajectoryId", p.window_id
FROM trajectories t
-- OFFSET 0: each by its id; else Postgres may read all windows for some rows.
CROSS JOIN LATERAL (SELECT w.window_id, w.rows_pruned_at FROM training.windows w
                    WHERE w.window_id = {{babylon.hour_of_start}} OFFSET 0) AS p
WHERE t."trajectoryId" = ANY (%(ids)s) AND p.rows_pruned_at IS NOT NULL

-- name: release
-- Make the data of a failed step available again.
DELETE FROM training.consumption WHERE step_id = %(step_id)s

-- name: used_up_since
-- What planning has used up of some windows without a step, by use, since a living step took each.
SELECT used.key AS use, sum(used.value::int)::int AS trajectories
FROM unnest(%(windows)s::text[]) AS asked (window_id)
CROSS JOIN LATERAL (
    SELECT coalesce(max(p.id), 0) AS id
    FROM training.steps s
    JOIN training.checkpoints c ON c.step_id = s.id AND c.dead_at IS NULL
    JOIN training.events p ON p.step_id = s.id AND p.kind = 'step_planned'
    WHERE s.lineage = %(lineage)s AND s.method = 'grpo'
      AND s.windows @> ARRAY[asked.window_id]) AS taken
JOIN training.events e ON e.window_id = asked.window_id AND e.lineage = %(lineage)s
                      AND e.kind = 'grouped' AND e.id > taken.id
CROSS JOIN LATERAL jsonb_each_text(e.detail -> 'used_up') AS used
GROUP BY used.key
