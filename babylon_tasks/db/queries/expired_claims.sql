-- name: expired_scoring
-- Scoring claims whose owner is silent, locked; a few at a time.
SELECT window_id AS window, attempt AS attempts FROM training.windows
WHERE state = 'scoring' AND lease_until < now()
ORDER BY starts_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
