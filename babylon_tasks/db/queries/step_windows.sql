-- name: lock
-- Windows that the lineage may still take, with the rewards that a plan was made from.
SELECT w.window_id
FROM training.windows w
JOIN jsonb_each_text(%(versions)s) AS planned (window_id, version) ON planned.window_id = w.window_id
{{lineage_windows.mine}}
WHERE {{lineage_windows.takeable}} AND w.reward_version = planned.version::int
  AND w.rescore IS DISTINCT FROM %(freed)s
ORDER BY w.window_id
FOR UPDATE OF w

-- name: lock_rewarded
-- Windows that a supervised step of the lineage may take, with the rewards that it was planned from.
SELECT w.window_id
FROM training.windows w
JOIN jsonb_each_text(%(versions)s) AS planned (window_id, version) ON planned.window_id = w.window_id
{{lineage_windows.mine}}
WHERE {{lineage_windows.rewarded}} AND w.reward_version = planned.version::int
ORDER BY w.window_id
FOR UPDATE OF w

-- name: take
-- Move a scored window into training.
UPDATE training.windows SET
    state = %(target)s, training_tries = training_tries + 1, next_attempt_at = NULL,
    updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: count_attempts
-- Count a run of a step's windows, locked in the order in which everybody locks them.
UPDATE training.windows SET training_tries = greatest(training_tries + %(by)s, 0), updated_at = now()
WHERE window_id IN (SELECT window_id FROM training.windows
                    WHERE window_id = ANY (%(windows)s) AND state = 'training'
                    ORDER BY window_id FOR UPDATE)

-- name: in_training
-- Those of a step's windows that are in training, locked, with their number of runs.
SELECT w.window_id AS window, {{lineage_windows.training_tries}} AS attempts
FROM training.windows w
{{lineage_windows.mine}}
WHERE w.window_id = ANY (%(windows)s) AND w.state = 'training'
ORDER BY w.window_id
FOR UPDATE OF w

-- name: left_over
-- How much of a window is neither used nor refused, rewarded in its newest version or not yet.
SELECT (SELECT count(*) FROM training.scores s
        WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version
          AND {{scored_trajectories.unused}})
     + (SELECT count(*) FROM ({{branches.freed_unrewarded}}) AS freed)
FROM training.windows w
WHERE w.window_id = %(window)s

-- name: end
-- After the commit: trained, or scored again with what is left over.
UPDATE training.windows SET
    state = %(target)s, left_over = %(left_over)s,
    trained_at = CASE WHEN %(target)s = 'trained' THEN now() ELSE trained_at END,
    rescore = CASE WHEN %(target)s IN ('scored', 'training') THEN rescore END,
    training_tries = 0, next_attempt_at = NULL, enqueued_at = NULL, updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: was_used
-- Whether a step has learned from a window.
SELECT EXISTS (SELECT FROM training.consumption
               WHERE lineage = %(lineage)s AND window_id = %(window)s AND use = 'trained'
                 AND dead_at IS NULL)

-- name: commonest_cause
-- The most common reason among the trajectories of a window that no step has used.
SELECT cause FROM (
    SELECT use AS cause FROM training.consumption
    WHERE lineage = %(lineage)s AND window_id = %(window)s AND use <> 'trained'
    UNION ALL
    SELECT r.reason FROM training.rejections r
    JOIN training.windows w ON w.window_id = r.window_id AND w.reward_version = r.reward_version
    WHERE r.window_id = %(window)s AND r.stage = 'dataset'
      AND coalesce(r.lineage, %(lineage)s) = %(lineage)s
) AS of_each
GROUP BY cause ORDER BY count(*) DESC, cause
LIMIT 1

-- name: nothing_left
-- Note that all of a window is used or refused.
UPDATE training.windows
SET left_over = 0, rescore = CASE WHEN state <> 'trained' THEN rescore END
WHERE window_id = %(window)s

-- name: outdated
-- Scored windows that are too far behind the newest that is over.
SELECT w.window_id, w.reward_version FROM training.windows w
{{lineage_windows.mine}}
WHERE {{lineage_windows.takeable}} AND w.rescore IS NULL AND coalesce(w.waits_until <= now(), true)
  AND w.starts_at < (SELECT max(starts_at) FROM training.windows WHERE state <> 'open')
                  - make_interval(hours => %(hours)s)
ORDER BY w.starts_at
LIMIT %(limit)s

-- name: count
-- Count an attempt at training a window that the lineage may still take.
UPDATE training.windows SET training_tries = training_tries + 1, updated_at = now()
WHERE window_id IN (SELECT w.window_id FROM training.windows w
                    {{lineage_windows.mine}}
                    WHERE w.window_id = %(window)s AND {{lineage_windows.takeable}}
                    FOR UPDATE OF w)
RETURNING training_tries

-- name: postpone
-- Let a scored window wait for its next attempt.
UPDATE training.windows SET next_attempt_at = now() + make_interval(secs => %(delay)s)
WHERE window_id = %(window)s AND state = 'scored'
