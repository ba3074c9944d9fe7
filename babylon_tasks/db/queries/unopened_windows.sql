-- part: is_hour
-- Whether a window id (id) is an hour that exists, as windows.py decides it.
coalesce(id ~ ('^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
    || '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
    || '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26]|00)00)-02-29)'
    || 'T([01][0-9]|2[0-3]):00$'), false)

-- part: id_of_unnamed
-- The window id of a row without one: its hour, or what stands for a start without an hour.
coalesce({{babylon.hour_of_start}}, "startTime"::text)

-- part: next_hour
-- The hour after an id (seen.id) that is an hour, or a moment inside one; NULL for any other. Text is
-- compared in the order of the index.
(SELECT to_char(id::timestamp + interval '1 hour', 'YYYY-MM-DD"T"HH24:00')
 FROM (SELECT left(seen.id, 10) || 'T' || substr(seen.id, 12, 2) || ':00' AS id) AS its
 WHERE CASE WHEN {{unopened_windows.is_hour}} THEN id <= seen.id END)

-- name: snapshot
-- What every later statement of the connection is sure to see.
SELECT pg_current_snapshot()::text

-- name: lock_survey
-- Where the survey continues, and how many malformed ids are named; no row while another process
-- surveys.
SELECT next_id,
       (SELECT count(*) FROM training.unopened_windows WHERE reason = 'bad_window_id') AS bad_ids
FROM training.survey
FOR UPDATE SKIP LOCKED

-- name: ids
-- Window ids of Babylon's rows from one on, as the index orders them: a loose scan, one probe for
-- each, or for each hour alone.
WITH RECURSIVE seen (id) AS (
    (SELECT "windowId"::text FROM trajectories WHERE "windowId" >= %(start)s
     ORDER BY "windowId" LIMIT 1)
    UNION ALL
    SELECT (SELECT t."windowId"::text FROM trajectories t
            WHERE t."windowId" > seen.id
              AND t."windowId" >= coalesce(CASE WHEN %(hours_only)s
                                           THEN {{unopened_windows.next_hour}} END, seen.id)
            ORDER BY t."windowId" LIMIT 1)
    FROM seen WHERE seen.id IS NOT NULL
)
SELECT id FROM seen WHERE id IS NOT NULL LIMIT %(limit)s

-- name: unopened
-- Those of some window ids that have no window, with the reason on record, or ''.
SELECT seen.id, coalesce(u.reason, '')
FROM unnest(%(ids)s::text[]) AS seen (id)
LEFT JOIN training.unopened_windows u ON u.window_id = seen.id
WHERE NOT EXISTS (SELECT FROM training.windows w WHERE w.window_id = seen.id)

-- name: name
-- Put on record why window ids have no window.
INSERT INTO training.unopened_windows (window_id, reason)
SELECT named.id, named.reason
FROM unnest(%(ids)s::text[], %(reasons)s::text[]) AS named (id, reason)
ON CONFLICT (window_id) DO UPDATE SET reason = excluded.reason, noticed_at = now()
WHERE unopened_windows.reason <> excluded.reason

-- name: go_on
-- Note how far the survey is, and at its beginning what it is sure to meet.
UPDATE training.survey SET
    next_id = %(next_id)s, surveyed_at = now(),
    begun_with = CASE WHEN next_id IS NULL THEN %(snapshot)s::pg_snapshot ELSE begun_with END,
    covered = CASE WHEN NOT %(complete)s THEN covered
                   WHEN next_id IS NULL THEN %(snapshot)s::pg_snapshot ELSE begun_with END

-- name: opened
-- Delete the accounts of windows that have been opened since.
DELETE FROM training.unopened_windows WHERE window_id = ANY (%(windows)s)

-- name: stop_survey
-- No survey goes on until the transaction ends: it would count on accounts that are about to go.
SELECT FROM training.survey FOR UPDATE

-- name: forget
-- Delete accounts of ids that have a window by now, or whose rows are gone; not those that stand for
-- ids that are not named.
DELETE FROM training.unopened_windows u
WHERE EXISTS (SELECT FROM training.windows w WHERE w.window_id = u.window_id)
   OR NOT EXISTS (SELECT FROM trajectories t WHERE t."windowId" = u.window_id)
      AND u.window_id NOT IN (SELECT {{unopened_windows.id_of_unnamed}} FROM trajectories
                              WHERE "windowId" IS NULL)
      AND (u.reason <> 'bad_window_id'
           OR (SELECT count(*) FROM training.unopened_windows
               WHERE reason = 'bad_window_id') < %(bad_ids)s)

-- name: why
-- Why a window id has none.
SELECT reason FROM training.unopened_windows WHERE window_id = %(window)s

-- name: counts
-- How many window ids have none, by reason, and the first and the last.
SELECT u.reason, count(*), min(u.window_id) AS first, max(u.window_id) AS last
FROM training.unopened_windows u
WHERE NOT EXISTS (SELECT FROM training.windows w WHERE w.window_id = u.window_id)
GROUP BY u.reason
ORDER BY u.reason
