-- part: listed
-- The scored trajectories of a window, without text.
SELECT s.trajectory_id, s.group_key, s.reward,
       coalesce((s.components ->> 'activity')::float8, 0) AS activity,
       coalesce((s.components ->> 'decisions')::float8 < 0, false) AS lost,
       s.scorer || ' ' || s.scorer_version AS scorer,
       s.content_hash, coalesce(octet_length(t."stepsJson"), 0) AS size
FROM training.scores s
LEFT JOIN trajectories t ON t."trajectoryId" = s.trajectory_id
WHERE s.window_id = %(window)s AND s.reward_version = %(version)s

-- part: unused
-- Scores (s) that the lineage has neither used nor refused; what only dead branches have used is free.
NOT EXISTS (SELECT FROM training.consumption c
            WHERE c.lineage = %(lineage)s AND c.trajectory_id = s.trajectory_id
              AND c.dead_at IS NULL)
AND NOT EXISTS (SELECT FROM training.rejections r
                WHERE r.trajectory_id = s.trajectory_id AND r.reward_version = s.reward_version
                  AND r.window_id = s.window_id AND r.stage = 'dataset'
                  AND coalesce(r.lineage, %(lineage)s) = %(lineage)s)

-- name: list_unused
-- A window's scored trajectories that are neither used by the lineage nor refused, without text.
{{scored_trajectories.listed}}
  AND {{scored_trajectories.unused}}

-- name: list_group
-- The comparable trajectories of one key of a window, used or not, without text.
{{scored_trajectories.listed}}
  AND s.group_key = %(group_key)s

-- name: list_all
-- A window's scored trajectories, used by the lineage or not, without text.
SELECT listed.*, EXISTS (SELECT FROM training.consumption c
                         WHERE c.lineage = %(lineage)s
                           AND c.trajectory_id = listed.trajectory_id
                           AND c.dead_at IS NULL) AS used
FROM ({{scored_trajectories.listed}}) AS listed

-- name: rows
-- Some trajectories as they are now, each with its current window.
-- A schema without archetypes takes the name from outside the subquery, where it is NULL.
SELECT "trajectoryId" AS trajectory_id, "agentId" AS agent_id, "scenarioId" AS scenario_id,
       CASE WHEN octet_length("stepsJson") <= %(largest)s THEN "stepsJson" END AS steps_json,
       octet_length("stepsJson") AS steps_bytes, "finalPnL" AS final_pnl,
       "isEvaluation" AS is_evaluation, "isTrainingData" AS is_training_data,
       {{trajectories.used_by_others}} AS already_used, named.type AS archetype,
       coalesce("windowId"::text, {{babylon.hour_of_start}}) AS window_id
FROM (VALUES (NULL::text)) AS absent (archetype)
CROSS JOIN LATERAL (
    SELECT *, archetype::text AS type FROM trajectories WHERE "trajectoryId" = ANY (%(ids)s)
) AS named

-- part: whole
-- Windows (w), each at its newest reward version that has all that is still there: one of an earlier
-- release left out what steps had used, and has compared the rest with itself alone.
SELECT w.window_id, coalesce(CASE WHEN w.reward_version > 1 THEN (
    SELECT min(c.reward_version) FROM training.consumption c
    JOIN trajectories t ON t."trajectoryId" = c.trajectory_id
    WHERE c.window_id = w.window_id AND c.reward_version < w.reward_version
      AND coalesce(t."windowId", {{babylon.hour_of_start}}) = w.window_id
      AND NOT EXISTS (SELECT FROM training.scores s
                      WHERE s.trajectory_id = c.trajectory_id AND s.window_id = c.window_id
                        AND s.reward_version = w.reward_version)
      AND NOT EXISTS (SELECT FROM training.rejections r
                      WHERE r.trajectory_id = c.trajectory_id AND r.window_id = c.window_id
                        AND r.reward_version = w.reward_version)) END, w.reward_version)
    AS reward_version
FROM w

-- part: by_key
-- Per key, the number and spread of comparable trajectories in windows (w).
SELECT s.window_id AS window, w.reward_version, s.group_key AS key, count(*) AS members,
       max(s.reward) - min(s.reward) AS spread
FROM w
JOIN training.scores s ON s.window_id = w.window_id AND s.reward_version = w.reward_version
GROUP BY s.window_id, w.reward_version, s.group_key
HAVING count(*) > 1

-- name: held_out_groups
-- The newest held-out windows that do not wait for outcomes, by key.
WITH w AS (SELECT window_id, reward_version FROM training.windows
           WHERE state = 'held_out' AND coalesce(waits_until <= now(), true)
           ORDER BY starts_at DESC LIMIT %(windows)s)
{{scored_trajectories.by_key}}

-- name: groups_since
-- The windows from one on that do not wait for outcomes, by key.
WITH w AS (SELECT window_id, reward_version FROM training.windows
           WHERE window_id >= %(window)s AND reward_mean IS NOT NULL
             AND coalesce(waits_until <= now(), true))
{{scored_trajectories.by_key}}
