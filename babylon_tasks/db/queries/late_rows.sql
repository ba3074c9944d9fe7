-- name: to_check
-- The windows scored lately whose last check for late rows was longest ago, and some of any age;
-- marks them as checked. What the snapshot sees, the statement that rejects sees as well.
WITH recent AS (
    SELECT window_id FROM training.windows
    WHERE state IN ('scored', 'training', 'trained', 'held_out', 'skipped', 'failed')
      AND scored_at >= now() - make_interval(hours => %(hours)s)
      AND coalesce(late_checked_at < now() - make_interval(secs => %(again)s), true)
    ORDER BY late_checked_at NULLS FIRST, starts_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), older AS (
    SELECT window_id FROM training.windows
    WHERE state IN ('scored', 'training', 'trained', 'held_out', 'skipped', 'failed')
      AND scored_at < now() - make_interval(hours => %(hours)s)
      AND coalesce(late_checked_at < now() - make_interval(secs => %(again)s), true)
    ORDER BY late_checked_at NULLS FIRST, starts_at
    LIMIT %(older)s
    FOR UPDATE SKIP LOCKED
)
UPDATE training.windows SET late_checked_at = now(), late_snapshot = pg_current_snapshot()
WHERE window_id IN (SELECT window_id FROM recent UNION ALL SELECT window_id FROM older)
RETURNING window_id

-- name: check_again
-- A window that has more late rows than one call rejects: the next call goes on.
UPDATE training.windows SET late_checked_at = NULL, late_snapshot = NULL
WHERE window_id = %(window)s

-- name: reject
-- Trajectories that came after the seal and were therefore neither scored nor rejected. Not by
-- "createdAt": a row may have been written in time and its windowId set or changed later. What was
-- said of it in the window that it had before says nothing of this one.
INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason, detail)
SELECT t."trajectoryId", w.window_id, w.reward_version, 'seal', 'late',
       concat('came to the window after it had been sealed and scored; written at ',
              t."createdAt", ' UTC')
FROM training.windows w
JOIN trajectories t
  ON (t."windowId" = w.window_id
      OR (t."windowId" IS NULL AND t."startTime" >= (w.starts_at AT TIME ZONE 'UTC')
          AND t."startTime" < (w.starts_at AT TIME ZONE 'UTC') + interval '1 hour'))
WHERE w.window_id = %(window)s
  AND NOT EXISTS (SELECT FROM training.scores s WHERE s.trajectory_id = t."trajectoryId"
                  AND s.window_id = w.window_id AND s.reward_version = w.reward_version)
  AND NOT EXISTS (SELECT FROM training.rejections r WHERE r.trajectory_id = t."trajectoryId"
                  AND r.window_id = w.window_id AND r.reward_version = w.reward_version)
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.trajectory_id = t."trajectoryId" AND c.window_id = w.window_id)
LIMIT %(limit)s
ON CONFLICT DO NOTHING
