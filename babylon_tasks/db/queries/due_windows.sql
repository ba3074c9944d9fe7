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

-- part: noted
-- A lineage that is one of several has its own note of what was sent to it.
noted AS (
    INSERT INTO training.lineage_windows (window_id, lineage, enqueued_at)
    SELECT window_id, %(lineage)s, now() FROM picked WHERE {{lineage_windows.others}}
    ON CONFLICT (window_id, lineage) DO UPDATE SET enqueued_at = now()
)

-- name: pick_to_train
-- Scored windows without a postponed decision, unless a running trainer of the lineage will take them; marks them as sent.
WITH picked AS (
    SELECT w.window_id FROM training.windows w
    {{lineage_windows.mine}}
    WHERE {{windows.ready_to_train}}
      AND coalesce({{lineage_windows.enqueued_at}} < now() - make_interval(secs => %(again)s), true)
      AND NOT EXISTS (SELECT FROM training.lineages l
                      WHERE l.name = %(lineage)s AND l.lease_until > now())
    ORDER BY {{lineage_windows.left_over}} > 0, w.starts_at
    LIMIT %(limit)s
    FOR UPDATE OF w SKIP LOCKED
), {{due_windows.noted}}
UPDATE training.windows SET enqueued_at = now()
WHERE window_id IN (SELECT window_id FROM picked)
RETURNING window_id

-- name: pick_to_recover
-- One window of each step whose worker is gone.
WITH picked AS (
    SELECT w.window_id
    FROM training.steps s
    JOIN training.lineages l ON l.name = s.lineage
    JOIN training.windows w ON w.window_id = s.windows[1]
    {{lineage_windows.mine}}
    WHERE s.lineage = %(lineage)s AND s.state IN ('planned', 'running', 'trained')
      AND coalesce(l.lease_until < now(), true)
      AND coalesce(s.next_attempt_at <= now(), true)
      AND coalesce({{lineage_windows.enqueued_at}} < now() - make_interval(secs => %(again)s), true)
    FOR UPDATE OF w SKIP LOCKED
), {{due_windows.noted}}
UPDATE training.windows SET enqueued_at = now()
WHERE window_id IN (SELECT window_id FROM picked)
RETURNING window_id

-- name: mark_enqueued
-- Note that a message was sent for these windows; it is only a hint.
UPDATE training.windows SET enqueued_at = now() WHERE window_id = ANY (%(windows)s)

-- name: rewarded
-- Windows of which a supervised step may take answers that the lineage has not used, newest first.
SELECT w.window_id AS window, w.reward_version
FROM training.windows w
{{lineage_windows.mine}}
WHERE {{lineage_windows.rewarded}}
  AND (%(since)s::timestamptz IS NULL OR w.starts_at >= %(since)s)
  AND EXISTS (SELECT FROM training.scores s
              WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version
                AND NOT EXISTS (SELECT FROM training.consumption c
                                WHERE c.lineage = %(lineage)s
                                  AND c.trajectory_id = s.trajectory_id
                                  AND c.dead_at IS NULL))
ORDER BY w.starts_at DESC

-- name: scored
-- Windows that wait for a training step: the requested one, those that no step has used, oldest
-- first, then left-over ones, newest first, since they are the most likely to be fresh.
SELECT w.window_id AS window, w.reward_version, {{lineage_windows.training_tries}} AS attempts,
       w.changes
FROM training.windows w
{{lineage_windows.mine}}
WHERE {{windows.ready_to_train}}
ORDER BY w.window_id IS NOT DISTINCT FROM %(first)s DESC, {{lineage_windows.left_over}} > 0,
         CASE WHEN {{lineage_windows.left_over}} > 0 THEN -extract(epoch FROM w.starts_at)
              ELSE extract(epoch FROM w.starts_at) END
LIMIT %(limit)s
