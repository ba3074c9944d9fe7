-- part: ended
-- A window (w) for which nothing is left to do, and has been for a while: no step takes it, nothing
-- scores it anew, and no evaluation reads it.
w.rows_pruned_at IS NULL AND w.state IN ('trained', 'skipped', 'held_out')
AND greatest(w.updated_at, w.starts_at) < now() - make_interval(secs => %(kept)s)
AND w.rescore IS NULL AND coalesce(w.waits_until <= now(), true)
AND (w.state = 'skipped' OR w.reason IS NULL OR w.waits_until IS NULL)
AND NOT EXISTS (SELECT FROM training.lineage_windows e  -- one of several lineages may retry it
                WHERE e.window_id = w.window_id AND e.state = 'failed')
AND (w.state <> 'held_out' OR w.window_id NOT IN (
    SELECT h.window_id FROM training.windows h
    WHERE h.state = 'held_out' AND coalesce(h.waits_until <= now(), true)
    ORDER BY h.starts_at DESC LIMIT %(held_out)s))

-- part: moved
-- Babylon has moved the row of a trajectory (x) to another hour: what we say of it stays.
EXISTS (SELECT FROM trajectories
        WHERE "trajectoryId" = x.trajectory_id
          AND coalesce("windowId", {{babylon.hour_of_start}}) <> x.window_id)

-- part: unread
-- A step (s) that has ended, all of whose windows are pruned, and that cannot be replayed.
s.state IN ('committed', 'failed') AND s.manifest -> 'groups' <> '[]'
AND (s.members_kept_at IS NULL OR s.members_pruned_at IS NOT NULL)
AND NOT EXISTS (SELECT FROM training.windows w
                WHERE w.window_id = ANY (s.windows) AND w.rows_pruned_at IS NULL)

-- name: list
-- Windows whose rows nothing needs any more, the oldest first.
SELECT w.window_id FROM training.windows w
WHERE {{old_rows.ended}}
ORDER BY w.starts_at
LIMIT %(limit)s

-- name: lock
-- Such a window, locked: nothing more is written about it meanwhile.
SELECT w.window_id FROM training.windows w
WHERE w.window_id = %(window)s AND {{old_rows.ended}}
FOR UPDATE OF w

-- name: count
-- Keep what its rows say in numbers, and end its life: it is never looked at for late rows, scored
-- or trained again.
UPDATE training.windows w SET
    rows_pruned_at = now(), late_checked_at = 'infinity', late_snapshot = NULL, rows_seen = NULL,
    row_counts = jsonb_build_object(
        'usable', (
            SELECT count(*) FROM training.scores s
            WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version
              AND NOT EXISTS (SELECT FROM training.rejections r
                              WHERE r.trajectory_id = s.trajectory_id
                                AND r.reward_version = s.reward_version AND r.stage = 'dataset')),
        'usable_by', (
            SELECT jsonb_object_agg(l.name, (
                SELECT count(*) FROM training.scores s
                WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version
                  AND NOT EXISTS (SELECT FROM training.rejections r
                                  WHERE r.trajectory_id = s.trajectory_id
                                    AND r.reward_version = s.reward_version AND r.stage = 'dataset'
                                    AND coalesce(r.lineage, l.name) = l.name)))
            FROM training.lineages l),
        'rejections', (
            SELECT coalesce(jsonb_agg(to_jsonb(each)), '[]')
            FROM (SELECT r.reward_version, r.stage, r.reason, r.lineage, count(*) AS count,
                         (array_agg(r.trajectory_id ORDER BY r.id))[1] AS example,
                         (array_agg(r.detail ORDER BY r.id))[1] AS detail
                  FROM training.rejections r WHERE r.window_id = w.window_id
                  GROUP BY r.reward_version, r.stage, r.reason, r.lineage) AS each),
        'uses', (
            SELECT coalesce(jsonb_agg(to_jsonb(u) - 'window_id'), '[]')
            FROM training.use_counts u WHERE u.window_id = w.window_id))
WHERE w.window_id = %(window)s

-- part: scored_elsewhere
-- The trajectory (x) has a score in another hour too.
EXISTS (SELECT FROM training.scores s
        WHERE s.trajectory_id = x.trajectory_id AND s.window_id <> x.window_id)

-- name: delete_uses
-- Uses whose trajectory can never be used again: it began in an hour whose rows are pruned, and
-- planning takes none of these. When one began that Babylon has deleted nobody knows, and it may be
-- restored, to any hour.
DELETE FROM training.consumption x
WHERE x.window_id = %(window)s AND NOT {{old_rows.moved}} AND NOT {{old_rows.scored_elsewhere}}
  AND EXISTS (SELECT FROM trajectories
              JOIN training.windows p ON p.window_id = {{babylon.hour_of_start}}
              WHERE "trajectoryId" = x.trajectory_id AND p.rows_pruned_at IS NOT NULL)

-- name: delete_scores
-- Scores, but for those of uses that stay; of a row that Babylon has deleted the use alone does.
DELETE FROM training.scores x
WHERE x.window_id = %(window)s AND NOT {{old_rows.moved}}
  AND (NOT EXISTS (SELECT FROM training.consumption u
                   WHERE u.window_id = x.window_id AND u.trajectory_id = x.trajectory_id
                     AND u.reward_version = x.reward_version)
       OR NOT {{old_rows.scored_elsewhere}}
          AND NOT EXISTS (SELECT FROM trajectories WHERE "trajectoryId" = x.trajectory_id))

-- name: write_details
-- Rejections that stay get the detail that they share with one that may go.
UPDATE training.rejections x SET detail = {{trajectory_history.detail}}
WHERE x.window_id = %(window)s AND x.detail IS NULL AND {{old_rows.moved}}

-- name: delete_rejections
-- Rejections.
DELETE FROM training.rejections x WHERE x.window_id = %(window)s AND NOT {{old_rows.moved}}

-- name: delete_bets
-- Markets of its bets.
DELETE FROM training.bets WHERE window_id = %(window)s

-- name: shorten_manifests
-- Manifests of steps (s) of a window that nobody reads any more, without their trajectories. Their
-- hashes stay.
UPDATE training.steps s SET manifest = jsonb_set(s.manifest, '{groups}', '[]')
WHERE s.windows @> ARRAY[%(window)s::text] AND {{old_rows.unread}}

-- name: shorten_manifest
-- The same of one step (s).
UPDATE training.steps s SET manifest = jsonb_set(s.manifest, '{groups}', '[]')
WHERE s.id = %(step_id)s AND {{old_rows.unread}}

-- name: oldest_not_pruned
-- The oldest window that may still need outcomes.
SELECT min(window_id) FROM training.windows WHERE rows_pruned_at IS NULL

-- name: delete_outcomes
-- Outcomes of days before an hour.
DELETE FROM training.outcomes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM training.outcomes
    WHERE left(window_id, 10) < left(%(before)s, 10)
    LIMIT %(limit)s))
