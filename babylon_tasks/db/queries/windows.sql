-- part: columns
-- A row, with whether it waits for outcomes and whether its next attempt may begin.
window_id, state, held_out, reason, trajectories, agents, scored, rejected, reward_mean,
reward_std, reward_version, attempt AS attempts, training_tries AS training_attempts,
next_attempt_at, enqueued_at, opened_at, sealed_at, scored_at, trained_at, updated_at,
waits_until, rescore AS score_anew, changes, left_over, profit_mean, right_share,
state IN ('scored', 'held_out') AND coalesce(waits_until > now(), false) AS waiting,
coalesce(next_attempt_at <= now(), true) AND coalesce(waits_until <= now(), true)
    AND rescore IS NULL AND (state <> 'scored' OR reason IS NULL) AS due

-- part: backlog
-- Windows that are over, unused by steps and not waiting for outcomes.
(state IN ('sealed', 'scoring', 'training')
 OR state = 'scored' AND coalesce(waits_until <= now(), true) AND left_over = 0)

-- part: ready_to_train
-- Scored windows that a step may take now.
state = 'scored' AND coalesce(next_attempt_at <= now(), true)
AND coalesce(waits_until <= now(), true) AND rescore IS NULL AND reason IS NULL

-- name: get
-- One window.
SELECT {{windows.columns}}
FROM training.windows WHERE window_id = %(window)s

-- name: list
-- Windows from a moment on, newest first.
SELECT {{windows.columns}}
FROM training.windows
WHERE (%(since)s::timestamptz IS NULL OR starts_at >= %(since)s)
  AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
  AND coalesce(agents, 0) >= %(min_agents)s
ORDER BY starts_at DESC
LIMIT %(limit)s

-- name: counts
-- How many windows are in each state.
SELECT state, count(*) FROM training.windows GROUP BY state
