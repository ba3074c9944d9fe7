-- name: pick_to_score
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

-- name: pick_to_train
-- Scored windows without a postponed decision, unless a running trainer of the lineage will take them; marks them as sent.
UPDATE training.windows SET enqueued_at = now()
WHERE window_id IN (
    SELECT w.window_id FROM training.windows w
    WHERE {{windows.ready_to_train}}
      AND coalesce(w.enqueued_at < now() - make_interval(secs => %(again)s), true)
      AND NOT EXISTS (SELECT FROM training.lineages l
                      WHERE l.name = %(lineage)s AND l.lease_until > now())
    ORDER BY w.left_over > 0, w.starts_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING window_id

-- name: pick_to_recover
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

-- name: scored
-- Windows that wait for a training step: the requested one, those that no step has used, oldest
-- first, then left-over ones, newest first, since they are the most likely to be fresh.
SELECT window_id AS window, reward_version, training_tries AS attempts, changes
FROM training.windows
WHERE {{windows.ready_to_train}}
ORDER BY window_id IS NOT DISTINCT FROM %(first)s DESC, left_over > 0,
         CASE WHEN left_over > 0 THEN -extract(epoch FROM starts_at)
              ELSE extract(epoch FROM starts_at) END
LIMIT %(limit)s
