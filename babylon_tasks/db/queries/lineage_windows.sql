-- part: mine
-- What a lineage has done with windows (w).
LEFT JOIN training.lineage_windows mine
       ON mine.window_id = w.window_id AND mine.lineage = %(lineage)s

-- part: others
-- Whether the lineage is one of several. The only one has no rows: training.windows is its own.
(SELECT count(*) > 1 AND count(*) FILTER (WHERE name = %(lineage)s) = 1 FROM training.lineages)

-- part: in_anothers_step_alone
-- Whether steps that have begun and not ended have taken the window, none of them the lineage's.
coalesce((SELECT bool_and(u.lineage <> %(lineage)s) FROM training.steps u
          WHERE u.state IN ('planned', 'running', 'trained') AND w.window_id = ANY (u.windows)),
         false)

-- part: state
-- The state of a window for a lineage: what it has done itself, else that of the window, which
-- another lineage's training does not change.
CASE WHEN coalesce(mine.state, 'scored') <> 'scored' THEN mine.state
     WHEN w.state = 'training' AND {{lineage_windows.in_anothers_step_alone}}
     THEN 'scored' ELSE w.state END

-- part: takeable
-- Windows that are scored, as far as the lineage is concerned.
w.state IN ('scored', 'training') AND coalesce(mine.state, 'scored') = 'scored'
AND (w.state = 'scored' OR {{lineage_windows.in_anothers_step_alone}})

-- part: rewarded
-- Windows whose rewards are final and of which a supervised step of the lineage may take answers.
w.state IN ('scored', 'training', 'skipped') AND {{lineage_windows.state}} IN ('scored', 'skipped')
AND (w.state <> 'scored' OR w.reason IS NULL) AND NOT w.held_out AND w.rescore IS NULL
AND coalesce(w.waits_until <= now(), true) AND w.rows_pruned_at IS NULL
AND NOT {{tripwires.tripped}}

-- part: training_tries
-- Training runs of the lineage begun with the window and not finished.
CASE WHEN {{lineage_windows.others}} THEN coalesce(mine.training_tries, 0)
     ELSE w.training_tries END

-- part: left_over
-- Comparable trajectories of the window that no step of the lineage has taken.
CASE WHEN {{lineage_windows.others}} THEN coalesce(mine.left_over, 0) ELSE w.left_over END

-- part: next_attempt_at
-- When the lineage may try the window again.
CASE WHEN {{lineage_windows.others}} THEN mine.next_attempt_at ELSE w.next_attempt_at END

-- part: enqueued_at
-- When the last message was sent to the lineage for the window.
CASE WHEN {{lineage_windows.others}} THEN mine.enqueued_at ELSE w.enqueued_at END

-- part: live
-- Lineages (l) that somebody has worked on or served lately; windows wait for no others.
l.updated_at > now() - interval '7 days'

-- name: has_others
-- Whether the database has another lineage.
SELECT {{lineage_windows.others}}

-- name: of_the_first
-- What training.windows says of the lineage that was the only one until this one came.
INSERT INTO training.lineage_windows (window_id, lineage, training_tries, left_over,
                                      next_attempt_at, enqueued_at)
SELECT w.window_id, l.name, w.training_tries, w.left_over, w.next_attempt_at, w.enqueued_at
FROM training.windows w
JOIN training.lineages l ON l.name <> %(lineage)s
WHERE w.state IN ('scored', 'training') AND (SELECT count(*) FROM training.lineages) = 2
ON CONFLICT DO NOTHING

-- name: begin
-- The lineage has taken a window, or tried to.
INSERT INTO training.lineage_windows (window_id, lineage, training_tries)
VALUES (%(window)s, %(lineage)s, 1)
ON CONFLICT (window_id, lineage) DO UPDATE
SET training_tries = lineage_windows.training_tries + 1, next_attempt_at = NULL, updated_at = now()

-- name: reopen
-- The lineage takes a window that it had skipped.
UPDATE training.lineage_windows
SET state = 'scored', reason = NULL, next_attempt_at = NULL, enqueued_at = NULL, updated_at = now()
WHERE window_id = %(window)s AND lineage = %(lineage)s AND state = 'skipped'

-- name: count_attempts
-- Count a run of a step's windows.
UPDATE training.lineage_windows
SET training_tries = greatest(training_tries + %(by)s, 0), updated_at = now()
WHERE window_id = ANY (%(windows)s) AND lineage = %(lineage)s

-- name: postpone
-- Let a window wait for the lineage's next attempt.
INSERT INTO training.lineage_windows (window_id, lineage, next_attempt_at)
VALUES (%(window)s, %(lineage)s, now() + make_interval(secs => %(delay)s))
ON CONFLICT (window_id, lineage) DO UPDATE SET next_attempt_at = excluded.next_attempt_at

-- name: lock_window
-- Let no other lineage end its part in the window until the end of the transaction.
SELECT window_id FROM training.windows WHERE window_id = %(window)s FOR UPDATE

-- name: settle
-- What the lineage's part in a window has come to.
INSERT INTO training.lineage_windows AS mine
    (window_id, lineage, state, reason, left_over, next_attempt_at, trained_at)
VALUES (%(window)s, %(lineage)s, %(state)s, %(reason)s, coalesce(%(left_over)s::int, 0),
        now() + make_interval(secs => %(delay)s),
        CASE WHEN %(state)s = 'trained' THEN now() END)
ON CONFLICT (window_id, lineage) DO UPDATE SET
    state = excluded.state, reason = excluded.reason,
    left_over = CASE WHEN excluded.state = 'scored'
        THEN coalesce(%(left_over)s::int, mine.left_over) ELSE 0 END,
    training_tries = CASE WHEN %(tries_end)s THEN 0 ELSE mine.training_tries END,
    next_attempt_at = excluded.next_attempt_at, enqueued_at = NULL,
    trained_at = coalesce(excluded.trained_at, mine.trained_at), updated_at = now()

-- name: for_all
-- What a window is for all lineages together once one has settled it, and why. It stays scored
-- for each live one that may still take it.
SELECT together.state, CASE WHEN together.state IN ('scored', 'training') THEN NULL ELSE (
           SELECT e.reason FROM training.lineage_windows e
           WHERE e.window_id = %(window)s AND e.state = together.state
           ORDER BY e.lineage = %(lineage)s DESC, e.updated_at DESC LIMIT 1) END AS reason
FROM (SELECT CASE
          WHEN EXISTS (SELECT FROM training.steps u
                       WHERE u.lineage <> %(lineage)s AND u.state IN ('planned', 'running', 'trained')
                         AND %(window)s = ANY (u.windows)) THEN 'training'
          WHEN EXISTS (SELECT FROM training.lineages l
                       LEFT JOIN training.lineage_windows e
                              ON e.lineage = l.name AND e.window_id = %(window)s
                       WHERE (l.name = %(lineage)s OR {{lineage_windows.live}})
                         AND coalesce(e.state, 'scored') = 'scored') THEN 'scored'
          WHEN bool_or(e.state = 'failed') THEN 'failed'
          WHEN bool_or(e.state = 'trained') THEN 'trained'
          ELSE 'skipped' END AS state
      FROM training.lineage_windows e WHERE e.window_id = %(window)s) AS together

-- name: waits_for_no_one
-- Windows still scored that every live lineage is done with: one they waited for is silent now.
SELECT w.window_id AS window, last.lineage FROM training.windows w
JOIN LATERAL (SELECT e.lineage FROM training.lineage_windows e
              WHERE e.window_id = w.window_id AND e.state <> 'scored'
              ORDER BY e.updated_at DESC LIMIT 1) last ON true
WHERE w.state = 'scored' AND w.rescore IS NULL
  AND NOT EXISTS (SELECT FROM training.lineages l
                  LEFT JOIN training.lineage_windows e
                         ON e.lineage = l.name AND e.window_id = w.window_id
                  WHERE {{lineage_windows.live}} AND coalesce(e.state, 'scored') = 'scored')
ORDER BY w.starts_at
LIMIT %(limit)s
FOR UPDATE OF w SKIP LOCKED

-- name: retry
-- Let a lineage try again a window that has failed for it; from now on it is waited for again.
WITH again AS (
    UPDATE training.lineage_windows SET
        state = 'scored', reason = NULL, training_tries = 0, next_attempt_at = NULL,
        enqueued_at = NULL, updated_at = now()
    WHERE window_id = %(window)s AND state = 'failed'
    RETURNING lineage
)
UPDATE training.lineages SET updated_at = now()
WHERE name IN (SELECT lineage FROM again)
RETURNING name

-- name: of_window
-- What each lineage has done with a window.
SELECT lineage, state, reason, training_tries AS training_attempts, left_over, trained_at
FROM training.lineage_windows WHERE window_id = %(window)s ORDER BY lineage

-- name: attempts
-- Training runs of a lineage begun with a window and not finished.
SELECT training_tries FROM training.lineage_windows
WHERE window_id = %(window)s AND lineage = %(lineage)s
