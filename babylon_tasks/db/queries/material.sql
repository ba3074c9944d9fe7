-- name: list_unused
-- A window's scored trajectories that the lineage has not used, without their text.
SELECT s.trajectory_id, s.group_key, s.reward, s.scorer || ' ' || s.scorer_version,
       octet_length(t."stepsJson")
FROM training.scores s
LEFT JOIN trajectories t ON t."trajectoryId" = s.trajectory_id
WHERE s.window_id = %(window)s AND s.reward_version = %(version)s
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.lineage = %(lineage)s AND c.trajectory_id = s.trajectory_id)

-- name: list_some
-- Named trajectories of a window, used or not, without their text.
SELECT s.trajectory_id, s.group_key, s.reward, s.scorer || ' ' || s.scorer_version,
       octet_length(t."stepsJson")
FROM training.scores s
LEFT JOIN trajectories t ON t."trajectoryId" = s.trajectory_id
WHERE s.window_id = %(window)s AND s.reward_version = %(version)s
  AND s.trajectory_id = ANY (%(ids)s)

-- name: list_group
-- One group of a window, used or not, without its text.
SELECT s.trajectory_id, s.group_key, s.reward, s.scorer || ' ' || s.scorer_version,
       octet_length(t."stepsJson")
FROM training.scores s
LEFT JOIN trajectories t ON t."trajectoryId" = s.trajectory_id
WHERE s.window_id = %(window)s AND s.reward_version = %(version)s
  AND s.group_key = %(group_key)s

-- name: text
-- The recorded steps of some trajectories.
SELECT "trajectoryId", "agentId", "scenarioId", "stepsJson", octet_length("stepsJson"), "finalPnL"
FROM trajectories WHERE "trajectoryId" = ANY (%(ids)s)

-- name: held_out_groups
-- Groups kept for evaluation, of the newest windows that wait for no outcome, with the spread of
-- their rewards.
SELECT s.window_id, w.reward_version, s.group_key, count(*), max(s.reward) - min(s.reward)
FROM (SELECT window_id, reward_version FROM training.windows
      WHERE state = 'held_out' AND coalesce(waits_until <= now(), true)
      ORDER BY starts_at DESC LIMIT %(windows)s) w
JOIN training.scores s ON s.window_id = w.window_id AND s.reward_version = w.reward_version
GROUP BY s.window_id, w.reward_version, s.group_key
HAVING count(*) > 1
