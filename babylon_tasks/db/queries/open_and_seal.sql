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
SELECT DISTINCT {{babylon.hour_of_start}}
FROM trajectories
WHERE "windowId" IS NULL AND "startTime" >= %(since)s::timestamp
LIMIT %(limit)s

-- name: known
-- Those of some windows that have a row.
SELECT window_id FROM training.windows WHERE window_id = ANY (%(windows)s)

-- name: open
-- Insert a window's row, unless another process has.
INSERT INTO training.windows (window_id, starts_at, held_out)
VALUES (%(window_id)s, %(starts_at)s, %(held_out)s)
ON CONFLICT (window_id) DO NOTHING

-- name: due_to_seal
-- Open windows that are over, with whether they are sealed at once: open for too long.
SELECT window_id AS window,
       now() >= starts_at + interval '1 hour' + make_interval(secs => %(max_open)s)
       AND now() >= opened_at + make_interval(secs => %(max_open)s) AS overdue
FROM training.windows
WHERE state = 'open' AND now() >= starts_at + interval '1 hour'
ORDER BY starts_at
LIMIT %(limit)s

-- name: note_rows
-- Note which rows an open window has, and when they were first seen to be other ones than before.
-- Not by "createdAt": an import, a restore or a slow transaction writes rows that look old.
WITH present AS (
    SELECT count(*) || ' ' || coalesce(sum(hashtextextended("trajectoryId", 0)), 0) AS rows
    FROM trajectories
    WHERE {{babylon.in_window}}
)
UPDATE training.windows SET rows_seen = present.rows, rows_changed_at = now()
FROM present
WHERE window_id = %(window)s AND state = 'open' AND rows_seen IS DISTINCT FROM present.rows

-- name: is_quiet
-- Whether the rows of a window have been the same for %(grace)s seconds of Postgres's clock.
SELECT rows_changed_at <= now() - make_interval(secs => %(grace)s)
FROM training.windows WHERE window_id = %(window)s

-- name: seal
-- Seal an open window, with what it contains.
UPDATE training.windows SET
    state = %(target)s, sealed_at = now(), updated_at = now(),
    (trajectories, agents) = (
        SELECT count(*), count(DISTINCT "agentId") FROM trajectories
        WHERE {{babylon.in_window}}
    )
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING trajectories, agents
