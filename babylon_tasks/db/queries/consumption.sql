-- name: consume
-- Mark trajectories as used for the lineage, permanently.
INSERT INTO training.consumption (lineage, trajectory_id, reward_version, window_id, step_id, use)
SELECT %(lineage)s, used.trajectory_id, used.reward_version, used.window_id, %(step_id)s, used.use
FROM unnest(%(ids)s::text[], %(versions)s::int[], %(windows)s::text[], %(uses)s::text[])
     AS used (trajectory_id, reward_version, window_id, use)

-- name: reject
-- Record why trajectories are left out of steps.
INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason, detail)
SELECT refused.trajectory_id, %(window)s, %(version)s, refused.stage, refused.reason, refused.detail
FROM unnest(%(ids)s::text[], %(stages)s::text[], %(reasons)s::text[], %(details)s::text[])
     AS refused (trajectory_id, stage, reason, detail)
ON CONFLICT DO NOTHING

-- name: release
-- Make the data of a failed step available again.
DELETE FROM training.consumption WHERE step_id = %(step_id)s
