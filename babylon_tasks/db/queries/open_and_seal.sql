-- name: seen
-- Hours up to %(until)s that Babylon's trajectories name and that have no window: a loose scan, one
-- index probe for each hour, however many malformed ids lie inside it.
WITH RECURSIVE seen (id) AS (
    (SELECT "windowId"::text FROM trajectories WHERE "windowId" >= %(since)s
     ORDER BY "windowId" LIMIT 1)
    UNION ALL
    SELECT (SELECT t."windowId"::text FROM trajectories t
            WHERE t."windowId" > seen.id
              AND t."windowId" >= coalesce({{unopened_windows.next_hour}}, seen.id)
            ORDER BY t."windowId" LIMIT 1)
    FROM seen WHERE seen.id <= %(until)s
)
SELECT id FROM seen
WHERE id <= %(until)s AND {{unopened_windows.is_hour}}
  AND NOT EXISTS (SELECT FROM training.windows w WHERE w.window_id = id)
LIMIT %(limit)s

-- name: seen_without_id
-- Hours without a window of trajectories that name none (Babylon's plugin never does), newest first;
-- not those for which the reason is on record and is what it was. Each hour is written as text once,
-- not for each of its rows.
SELECT id
FROM (SELECT DISTINCT {{unopened_windows.id_of_unnamed}} AS id
      FROM (SELECT DISTINCT date_trunc('hour', "startTime") AS "startTime"
            FROM trajectories WHERE "windowId" IS NULL) AS hours) AS unnamed
WHERE NOT EXISTS (SELECT FROM training.windows w WHERE w.window_id = id)
  AND NOT EXISTS (SELECT FROM training.unopened_windows u
                  WHERE u.window_id = id
                    AND (u.reason = 'bad_window_id'
                         OR u.reason = 'before_lookback' AND id < %(since)s
                         OR u.reason = 'not_begun' AND id > %(until)s))
ORDER BY id DESC
LIMIT %(limit)s

-- name: known
-- Those of some windows that have a row.
SELECT window_id FROM training.windows WHERE window_id = ANY (%(windows)s)

-- name: newest_by
-- The newest hour that was open at a moment.
SELECT window_id FROM training.windows WHERE opened_at <= %(moment)s
ORDER BY window_id DESC LIMIT 1

-- name: held_out_from
-- The held-out hours from one on, with whether they are after %(newest)s and have a group with spread,
-- or may have one: they are not scored, or wait for outcomes.
SELECT w.window_id, w.scored_at IS NULL OR coalesce(w.waits_until > now(), false)
    OR w.window_id > %(newest)s AND EXISTS (
    SELECT FROM training.scores s
    WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version
    GROUP BY s.group_key
    HAVING max(s.reward) - min(s.reward) > %(min_spread)s) AS useful
FROM training.windows w WHERE w.window_id >= %(window)s AND w.held_out

-- name: open
-- Insert a window's row, unless another process has.
INSERT INTO training.windows (window_id, starts_at, held_out)
VALUES (%(window_id)s, %(starts_at)s, %(held_out)s)
ON CONFLICT (window_id) DO NOTHING

-- name: due_to_seal
-- Open windows that are over, with whether they are sealed at once: open for too long. Then those
-- whose rows nobody has looked at, then those that have been the same for longest.
SELECT window_id AS window,
       now() >= starts_at + interval '1 hour' + make_interval(secs => %(max_open)s)
       AND now() >= opened_at + make_interval(secs => %(max_open)s) AS overdue
FROM training.windows
WHERE state = 'open' AND now() >= starts_at + interval '1 hour'
ORDER BY overdue DESC, rows_changed_at NULLS FIRST, starts_at
LIMIT %(limit)s

-- name: more_to_seal
-- Whether another call would seal a window now, or look at one for the first time.
SELECT EXISTS (
    SELECT FROM training.windows
    WHERE state = 'open' AND now() >= starts_at + interval '1 hour'
      AND (coalesce(rows_changed_at <= now() - make_interval(secs => %(grace)s), true)
           OR now() >= starts_at + interval '1 hour' + make_interval(secs => %(max_open)s)
              AND now() >= opened_at + make_interval(secs => %(max_open)s))
)

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
