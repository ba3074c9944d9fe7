-- name: mark
-- Windows whose rewards would differ now: they have bets on outcomes that have changed. A stock's
-- hour concerns the windows for which it is the earliest. Locked in the order in which planning
-- locks them.
WITH changed AS (
    SELECT c.kind, c.name, c.window_id,
           CASE c.kind WHEN 'stock' THEN (
               SELECT o.window_id FROM training.outcomes o
               WHERE o.kind = 'stock' AND o.name = c.name AND o.window_id < c.window_id
               ORDER BY o.window_id DESC LIMIT 1) END AS after
    FROM jsonb_to_recordset(%(changed)s) AS c (kind text, name text, window_id text)
), concerned AS (
    SELECT w.window_id FROM training.windows w
    WHERE w.rescore IS NULL
      AND (w.state IN ('scored', 'training', 'held_out', 'failed')
           -- Planning found nothing in the windows that it skipped, whatever the rewards.
           OR w.state = 'skipped'
              AND NOT EXISTS (SELECT FROM training.consumption u WHERE u.window_id = w.window_id)
              AND NOT EXISTS (SELECT FROM training.rejections r
                              WHERE r.window_id = w.window_id AND r.stage = 'dataset'))
      AND w.window_id IN (
          SELECT b.window_id
          FROM changed c
          JOIN training.bets_now b
            ON b.name = c.name AND b.kind IN ('market', c.kind)
           AND b.window_id <= c.window_id AND b.window_id > coalesce(c.after, '')
          WHERE b.differs)
    ORDER BY w.window_id
    FOR NO KEY UPDATE OF w
)
UPDATE training.windows w SET rescore = %(because)s
FROM concerned WHERE w.window_id = concerned.window_id
RETURNING w.window_id

-- name: mark_scored
-- For a window just scored: whether an outcome came between its reading and now.
UPDATE training.windows w SET rescore = CASE
    WHEN w.state IN ('scored', 'held_out', 'skipped')
         AND EXISTS (SELECT FROM training.bets_now b
                     WHERE b.window_id = w.window_id AND b.differs) THEN %(because)s END
WHERE w.window_id = %(window)s

-- name: due
-- Windows to be scored anew, locked: those that are marked, and those whose wait is over and had
-- postponed a decision. While a window waits, only if nothing is left to wait for.
SELECT w.window_id AS window, w.state, w.rescore AS score_anew, w.reward_version FROM training.windows w
WHERE w.state IN ('scored', 'held_out', 'skipped') AND w.rows_pruned_at IS NULL
  AND (w.rescore IS NOT NULL OR w.state <> 'skipped' AND w.reason IS NOT NULL AND w.waits_until <= now())
  AND (coalesce(w.waits_until <= now(), true)
       OR NOT EXISTS (SELECT FROM training.bets_now b
                      WHERE b.window_id = w.window_id AND NOT b.known))
  AND w.scored_at < now() - make_interval(secs => %(again)s)
ORDER BY w.starts_at
LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED

-- name: seal_again
-- Seal a locked window again, with all its attempts.
UPDATE training.windows SET
    state = %(target)s, reason = NULL, rescore = NULL, waits_until = NULL, attempt = 0,
    next_attempt_at = NULL, enqueued_at = NULL, sealed_at = now(), updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: came
-- Outcomes of a window that have arrived or changed since it was scored, by market.
SELECT name, yes_now, change_now FROM training.bets_now
WHERE window_id = %(window)s AND differs
ORDER BY name

-- name: unknown
-- The markets of a window's bets that have no outcome yet.
SELECT name FROM training.bets_now WHERE window_id = %(window)s AND NOT known
ORDER BY name LIMIT %(limit)s

-- name: waiting
-- How many windows wait for outcomes, how many of all are to be scored anew.
SELECT count(*) FILTER (WHERE state IN ('scored', 'held_out') AND waits_until > now()) AS windows,
       count(*) FILTER (WHERE rescore IS NOT NULL) AS to_score_anew
FROM training.windows
WHERE state IN ('scored', 'training', 'held_out', 'skipped')
  AND (waits_until > now() OR rescore IS NOT NULL)

-- name: next_waiting
-- The window whose wait ends first.
SELECT window_id AS window, waits_until AS until FROM training.windows
WHERE state IN ('scored', 'held_out') AND waits_until > now()
ORDER BY waits_until, starts_at
LIMIT 1

-- name: of_window
-- Each completed scoring of a window, and why it was scored anew.
SELECT (made.detail ->> 'reward_version')::int AS version, made.happened_at AS scored_at,
       coalesce((made.detail ->> 'scored')::int, 0) AS scored,
       (made.detail ->> 'right_share')::float8 AS right_share,
       (made.detail ->> 'profit_mean')::float8 AS profit_mean,
       (SELECT coalesce(sum(u.count), 0)::bigint FROM training.use_counts u
        WHERE u.window_id = made.window_id
          AND u.reward_version = (made.detail ->> 'reward_version')::int) AS used,
       why.detail ->> 'because' AS because, why.detail -> 'came' AS came
FROM training.events made
LEFT JOIN LATERAL (
    SELECT a.detail FROM training.events a
    WHERE a.window_id = made.window_id AND a.kind = 'score_anew'
      AND a.detail ->> 'reward_version' = made.detail ->> 'reward_version'
    ORDER BY a.id DESC LIMIT 1) why ON true
WHERE made.window_id = %(window)s AND made.detail ? 'reward_version' AND made.detail ? 'scored'
ORDER BY made.id
