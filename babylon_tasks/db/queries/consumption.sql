-- name: consume
-- These trajectories are used up for the lineage, for ever.
INSERT INTO training.consumption (lineage, trajectory_id, reward_version, window_id, step_id, use)
SELECT %(lineage)s, used.trajectory_id, used.reward_version, used.window_id, %(step_id)s, used.use
FROM unnest(%(ids)s::text[], %(versions)s::int[], %(windows)s::text[], %(uses)s::text[])
     AS used (trajectory_id, reward_version, window_id, use)

-- name: reject
-- Why trajectories are left out of steps.
INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason, detail)
SELECT refused.trajectory_id, %(window)s, %(version)s, refused.stage, refused.reason, refused.detail
FROM unnest(%(ids)s::text[], %(stages)s::text[], %(reasons)s::text[], %(details)s::text[])
     AS refused (trajectory_id, stage, reason, detail)
ON CONFLICT DO NOTHING

-- name: release
-- The data of a failed step may be used again.
DELETE FROM training.consumption WHERE step_id = %(step_id)s
