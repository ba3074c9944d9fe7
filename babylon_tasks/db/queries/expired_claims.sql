-- name: expired_scoring
-- Scoring claims whose owner is silent, locked; a few at a time.
SELECT window_id AS window, attempt AS attempts FROM training.windows
WHERE state = 'scoring' AND lease_until < now()
ORDER BY starts_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: any_expired
-- Whether there is one, of this window if one is named; locking it shows that writes are taken.
SELECT true FROM training.windows
WHERE state = 'scoring' AND lease_until < now()
  AND (%(window)s::text IS NULL OR window_id = %(window)s)
LIMIT 1
FOR UPDATE SKIP LOCKED
