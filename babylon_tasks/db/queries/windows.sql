-- name: seen
-- Window ids in Babylon's trajectories from %(since)s on: a loose scan, one index probe per window.
WITH RECURSIVE seen (window_id) AS (
    (SELECT "windowId" FROM trajectories WHERE "windowId" >= %(since)s
     ORDER BY "windowId" LIMIT 1)
    UNION ALL
    SELECT (SELECT t."windowId" FROM trajectories t WHERE t."windowId" > seen.window_id
            ORDER BY t."windowId" LIMIT 1)
    FROM seen WHERE seen.window_id IS NOT NULL
)
SELECT window_id FROM seen WHERE window_id IS NOT NULL LIMIT %(limit)s

-- name: seen_without_id
-- Hours of trajectories whose writer set no window id (Babylon's plugin never does).
SELECT DISTINCT to_char(date_trunc('hour', "startTime"), 'YYYY-MM-DD"T"HH24:00')
FROM trajectories
WHERE "windowId" IS NULL AND "startTime" >= %(since)s::timestamp
LIMIT %(limit)s

-- name: clock
-- Postgres's clock, the only one that decides.
SELECT clock_timestamp()

-- name: known
-- Those of some windows that have a row.
SELECT window_id FROM training.windows WHERE window_id = ANY (%(windows)s)

-- name: open
-- Insert a window's row, unless another process has.
INSERT INTO training.windows (window_id, starts_at, held_out)
VALUES (%(window_id)s, %(starts_at)s, %(held_out)s)
ON CONFLICT (window_id) DO NOTHING

-- name: due_to_seal
-- Open windows that are over, with whether they may be sealed at once: open for too long.
SELECT window_id AS window,
       now() >= starts_at + interval '1 hour' + make_interval(secs => %(max_open)s)
       AND now() >= opened_at + make_interval(secs => %(max_open)s) AS overdue
FROM training.windows
WHERE state = 'open'
  AND now() >= starts_at + interval '1 hour' + make_interval(secs => %(grace)s)
ORDER BY starts_at
LIMIT %(limit)s

-- name: is_quiet
-- Whether no trajectory of a window was written in the last %(grace)s seconds.
SELECT NOT EXISTS (
    SELECT FROM trajectories
    WHERE ("windowId" = %(window)s
           OR ("windowId" IS NULL AND "startTime" >= %(start)s::timestamp
               AND "startTime" < %(end)s::timestamp))
      AND "createdAt" > (now() AT TIME ZONE 'UTC') - make_interval(secs => %(grace)s)
)

-- name: seal
-- Seal an open window, with what it contains.
UPDATE training.windows SET
    state = %(target)s, sealed_at = now(), updated_at = now(),
    (trajectories, agents) = (
        SELECT count(*), count(DISTINCT "agentId") FROM trajectories
        WHERE "windowId" = %(window)s
           OR ("windowId" IS NULL AND "startTime" >= %(start)s::timestamp
               AND "startTime" < %(end)s::timestamp)
    )
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING trajectories, agents

-- name: move
-- Compare-and-set of a window's state.
UPDATE training.windows SET
    state = %(target)s, reason = %(reason)s, updated_at = now(),
    next_attempt_at = now() + make_interval(secs => %(delay)s),
    lease_owner = NULL, lease_until = NULL,
    trained_at = CASE WHEN %(target)s = 'trained' THEN now() ELSE trained_at END
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: get
-- One window.
SELECT window_id, state, held_out, reason, trajectories, agents, scored, rejected, reward_mean,
       reward_std, reward_version, attempt AS attempts, training_tries AS training_attempts,
       next_attempt_at, enqueued_at, opened_at, sealed_at, scored_at, trained_at, updated_at, waits_until, rescore, changes,
       left_over, profit_mean, right_share,
       state IN ('scored', 'held_out') AND coalesce(waits_until > now(), false) AS waiting,
       coalesce(next_attempt_at <= now(), true) AND coalesce(waits_until <= now(), true)
           AND rescore IS NULL AND (state <> 'scored' OR reason IS NULL) AS due
FROM training.windows WHERE window_id = %(window)s

-- name: list
-- Windows from a moment on, newest first.
SELECT window_id, state, held_out, reason, trajectories, agents, scored, rejected, reward_mean,
       reward_std, reward_version, attempt AS attempts, training_tries AS training_attempts,
       next_attempt_at, enqueued_at, opened_at, sealed_at, scored_at, trained_at, updated_at, waits_until, rescore, changes,
       left_over, profit_mean, right_share,
       state IN ('scored', 'held_out') AND coalesce(waits_until > now(), false) AS waiting,
       coalesce(next_attempt_at <= now(), true) AND coalesce(waits_until <= now(), true)
           AND rescore IS NULL AND (state <> 'scored' OR reason IS NULL) AS due
FROM training.windows
WHERE (%(since)s::timestamptz IS NULL OR starts_at >= %(since)s)
  AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
  AND coalesce(agents, 0) >= %(min_agents)s
ORDER BY starts_at DESC
LIMIT %(limit)s

-- name: counts
-- How many windows are in each state.
SELECT state, count(*) FROM training.windows GROUP BY state

-- name: claim_to_score
-- Sealed windows and lost scoring claims without a recent message; marks them as sent.
UPDATE training.windows SET enqueued_at = now()
WHERE window_id IN (
    SELECT window_id FROM training.windows
    WHERE (state = 'sealed' OR (state = 'scoring' AND lease_until < now()))
      AND coalesce(next_attempt_at <= now(), true)
      AND coalesce(enqueued_at < now() - make_interval(secs => %(again)s), true)
    ORDER BY starts_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING window_id

-- name: claim_to_train
-- Scored windows without a postponed decision, unless a running trainer of the lineage will take them; marks them as sent.
UPDATE training.windows SET enqueued_at = now()
WHERE window_id IN (
    SELECT w.window_id FROM training.windows w
    WHERE w.state = 'scored'
      AND coalesce(w.next_attempt_at <= now(), true)
      AND coalesce(w.waits_until <= now(), true) AND w.rescore IS NULL AND w.reason IS NULL
      AND coalesce(w.enqueued_at < now() - make_interval(secs => %(again)s), true)
      AND NOT EXISTS (SELECT FROM training.lineages l
                      WHERE l.name = %(lineage)s AND l.lease_until > now())
    ORDER BY w.left_over > 0, w.starts_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING window_id

-- name: claim_to_recover
-- One window of each step whose worker is gone.
UPDATE training.windows SET enqueued_at = now()
WHERE window_id IN (
    SELECT w.window_id
    FROM training.steps s
    JOIN training.lineages l ON l.name = s.lineage
    JOIN training.windows w ON w.window_id = s.windows[1]
    WHERE s.lineage = %(lineage)s AND s.state IN ('planned', 'running', 'trained')
      AND coalesce(l.lease_until < now(), true)
      AND coalesce(s.next_attempt_at <= now(), true)
      AND coalesce(w.enqueued_at < now() - make_interval(secs => %(again)s), true)
    FOR UPDATE OF w SKIP LOCKED
)
RETURNING window_id

-- name: mark_enqueued
-- Note that a message was sent for these windows; it is only a hint.
UPDATE training.windows SET enqueued_at = now() WHERE window_id = ANY (%(windows)s)

-- name: retry
-- Retry a failed window: its attempts start again.
UPDATE training.windows SET
    state = %(target)s, reason = NULL, attempt = 0, training_tries = 0, next_attempt_at = NULL,
    enqueued_at = NULL, updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: scored
-- Windows that wait for a training step: the requested one, those that no step has used, oldest
-- first, then left-over ones, newest first, since they are the most likely to be fresh.
SELECT window_id AS window, reward_version, training_tries AS attempts, changes
FROM training.windows
WHERE state = 'scored' AND coalesce(next_attempt_at <= now(), true)
  AND coalesce(waits_until <= now(), true) AND rescore IS NULL AND reason IS NULL
ORDER BY window_id IS NOT DISTINCT FROM %(first)s DESC, left_over > 0,
         CASE WHEN left_over > 0 THEN -extract(epoch FROM starts_at)
              ELSE extract(epoch FROM starts_at) END
LIMIT %(limit)s
