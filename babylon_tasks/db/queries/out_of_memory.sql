-- part: ended
-- A failed step (f) that ended for want of memory, with the event that says so. A killed trainer
-- fails a step for no other reason.
f.state = 'failed' AND ended.kind = 'step_failed'
  AND ended.detail ->> 'fault' IN ('out_of_memory', 'trainer_killed')

-- name: runs
-- How many runs of a step were broken off for want of memory, or with a trainer that was killed.
SELECT count(*) FROM training.events
WHERE step_id = %(step_id)s AND kind = 'step_interrupted'
  AND detail ->> 'fault' IN ('out_of_memory', 'trainer_killed')

-- name: most_groups
-- Half of the groups of the newest step with a window that ended for want of memory, but one.
SELECT greatest(jsonb_array_length(f.manifest -> 'groups') / 2, 1)
FROM training.steps f
JOIN training.events ended ON ended.step_id = f.id
WHERE f.lineage = %(lineage)s AND f.windows @> ARRAY[%(window)s::text] AND f.method = 'grpo'
  AND {{out_of_memory.ended}}
ORDER BY f.id DESC
LIMIT 1

-- name: others_fit
-- Whether another step was committed since one with the same groups ended for want of memory.
SELECT EXISTS (
    SELECT FROM training.steps s
    JOIN training.steps f ON f.lineage = s.lineage AND f.windows @> s.windows
                         AND f.manifest -> 'groups' = s.manifest -> 'groups'
    JOIN training.events ended ON ended.step_id = f.id
    JOIN training.steps other ON other.lineage = s.lineage AND other.state = 'committed'
                             AND other.committed_at > f.failed_at
    WHERE s.id = %(step_id)s AND {{out_of_memory.ended}})

-- name: uninspected
-- A window's groups whose candidates could not be inspected for want of memory, how often, and
-- whether another step was committed since the first time.
SELECT e.detail ->> 'group' AS group_key, count(*) AS times, EXISTS (
           SELECT FROM training.steps s WHERE s.lineage = %(lineage)s AND s.state = 'committed'
             AND s.committed_at > min(e.happened_at)) AS others_fit
FROM training.events e
WHERE e.window_id = %(window)s AND e.lineage = %(lineage)s AND e.kind = 'training_failed'
  AND e.detail ->> 'fault' IN ('out_of_memory', 'trainer_killed')
GROUP BY group_key
