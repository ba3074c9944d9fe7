-- part: was_seen
-- Whether a look (look.snapshot) has seen a row (t). xmin, of 32 bits, is counted from the look's
-- snapshot, which is within 2^31 transactions of it.
pg_visible_in_snapshot(greatest(0, look.until - 2147483648
        + ((t.xmin::text::bigint - look.until + 2147483648) & 4294967295))::text::xid8,
    look.snapshot)

-- part: rows_of_ids
-- Babylon's rows of some window ids (ids): by the index, and in one scan of those that name none.
(SELECT ids.id, named.* FROM ids
 CROSS JOIN LATERAL (SELECT "trajectoryId" AS trajectory_id, xmin
                     FROM trajectories WHERE "windowId" = ids.id OFFSET 0) AS named
 UNION ALL
 SELECT ids.id, unnamed.trajectory_id, unnamed.xmin
 FROM (SELECT {{unopened_windows.id_of_unnamed}} AS id, "trajectoryId" AS trajectory_id, xmin
       FROM trajectories WHERE "windowId" IS NULL) AS unnamed
 JOIN ids USING (id)) AS t

-- name: unaccounted_rows
-- Rows of a scored window that are neither scored nor rejected nor used in it. Those that came after
-- its last look for late rows are waited for, %(patience)s seconds from the later of that look and
-- its scoring. Until a window is scored its state accounts for its rows, once it is pruned that it is.
WITH ids AS MATERIALIZED (
    SELECT window_id::text AS id, reward_version, scored_at, late_checked_at, late_snapshot
    FROM training.windows
    WHERE state IN ('scored', 'training', 'trained', 'held_out', 'skipped', 'failed')
      AND scored_at IS NOT NULL AND rows_pruned_at IS NULL
)
SELECT w.id AS window, count(*) || ' trajectories neither scored nor rejected, such as '
       || min(t.trajectory_id) AS what
FROM {{invariants.rows_of_ids}}
JOIN ids w USING (id)
CROSS JOIN LATERAL (SELECT w.late_snapshot AS snapshot,
                           pg_snapshot_xmax(w.late_snapshot)::text::bigint AS until) AS look
WHERE NOT EXISTS (SELECT FROM training.scores s
                  WHERE s.trajectory_id = t.trajectory_id AND s.window_id = w.id
                    AND s.reward_version = w.reward_version)
  AND NOT EXISTS (SELECT FROM training.rejections r
                  WHERE r.trajectory_id = t.trajectory_id AND r.window_id = w.id
                    AND r.reward_version = w.reward_version)
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.trajectory_id = t.trajectory_id AND c.window_id = w.id)
  AND (look.snapshot IS NOT NULL AND {{invariants.was_seen}}
       OR w.scored_at >= now() - make_interval(hours => %(hours)s)
           AND greatest(w.late_checked_at, w.scored_at) <= now() - make_interval(secs => %(patience)s))
GROUP BY w.id

-- name: rows_without_window
-- Rows of window ids that have no window, and for which nothing on record says why. Those that came
-- after the last complete survey are waited for, %(patience)s seconds from its last call. The ids
-- come first, by one probe each; %(bad_ids)s malformed ones stand for all others.
WITH RECURSIVE named (id) AS (
    (SELECT "windowId"::text FROM trajectories WHERE "windowId" >= ''
     ORDER BY "windowId" LIMIT 1)
    UNION ALL
    SELECT (SELECT t."windowId"::text FROM trajectories t WHERE t."windowId" > named.id
            ORDER BY t."windowId" LIMIT 1)
    FROM named WHERE named.id IS NOT NULL
), ids (id) AS MATERIALIZED (
    SELECT id
    FROM (SELECT id FROM named WHERE id IS NOT NULL
          UNION
          SELECT {{unopened_windows.id_of_unnamed}} FROM trajectories WHERE "windowId" IS NULL) AS every
    WHERE NOT EXISTS (SELECT FROM training.windows w WHERE w.window_id = id)
      AND NOT EXISTS (SELECT FROM training.unopened_windows u WHERE u.window_id = id)
      AND ({{unopened_windows.is_hour}}
           OR (SELECT count(*) FROM training.unopened_windows
               WHERE reason = 'bad_window_id') < %(bad_ids)s)
)
SELECT t.id AS window, count(*) || ' trajectories without a window, and nothing says why, such as '
       || min(t.trajectory_id) AS what
FROM {{invariants.rows_of_ids}}
CROSS JOIN (SELECT covered AS snapshot, pg_snapshot_xmax(covered)::text::bigint AS until,
                   surveyed_at FROM training.survey) AS look
WHERE %(at_rest)s
   OR look.surveyed_at <= now() - make_interval(secs => %(patience)s)
   OR look.snapshot IS NOT NULL AND {{invariants.was_seen}}
GROUP BY t.id

-- name: windows_failed_without_reason
-- Windows that failed and do not say why: their reason is what accounts for rows never scored. Where
-- a database has several lineages, the one that failed says why.
SELECT window_id AS window, 'has failed, and nothing says why' AS what
FROM training.windows w
WHERE state = 'failed' AND coalesce(reason, '') = ''
  AND NOT EXISTS (SELECT FROM training.lineage_windows l
                  WHERE l.window_id = w.window_id AND l.state = 'failed' AND l.reason <> '')

-- name: scored_and_rejected
-- Trajectories with a score and the reason why they have none, in one reward version.
SELECT s.window_id AS window, count(*) || ' trajectories scored and rejected in version '
       || s.reward_version || ', such as ' || min(s.trajectory_id) AS what
FROM training.scores s
JOIN training.rejections r USING (trajectory_id, reward_version, window_id)
WHERE r.stage IN ('decode', 'score')
GROUP BY s.window_id, s.reward_version

-- name: scores_that_were_not_counted
-- Windows whose count of scores is neither that of their newest reward version nor, where this one
-- lacks what steps had used before it, that with these. What a branch had used that died or was
-- revived since was counted or not, by when.
SELECT w.window_id AS window,
       w.scored || ' scores counted, ' || newest.scores || ' stored'
       || CASE WHEN earlier.uses > 0
               THEN ', ' || earlier.uses || ' more used in earlier versions' ELSE '' END AS what
FROM training.windows w
CROSS JOIN LATERAL (
    SELECT count(*) AS scores FROM training.scores s
    WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version) AS newest
CROSS JOIN LATERAL (
    SELECT count(DISTINCT c.trajectory_id) AS uses FROM training.consumption c
    WHERE c.window_id = w.window_id AND c.reward_version < w.reward_version
      AND NOT EXISTS (SELECT FROM training.scores s
                      WHERE s.trajectory_id = c.trajectory_id AND s.window_id = w.window_id
                        AND s.reward_version = w.reward_version)) AS earlier
WHERE w.rows_pruned_at IS NULL
  AND w.scored NOT BETWEEN newest.scores AND newest.scores + earlier.uses

-- name: uses_without_score
-- Trajectories that a step has used with a reward that is not on record; once an hour's rows are
-- pruned the use of one that Babylon has deleted stays alone.
SELECT c.window_id AS window, count(*) || ' trajectories used without their score, such as '
       || min(c.trajectory_id) AS what
FROM training.consumption c
LEFT JOIN training.scores s USING (trajectory_id, reward_version, window_id)
WHERE s.trajectory_id IS NULL
  AND NOT EXISTS (SELECT FROM training.windows w
                  WHERE w.window_id = c.window_id AND w.rows_pruned_at IS NOT NULL)
GROUP BY c.window_id

-- name: uses_by_failed_steps
-- Trajectories that belong to a step that failed, and are therefore lost to the next. That no two
-- living branches of a lineage use one is the unique index training.consumption_once.
SELECT c.window_id AS window, count(*) || ' trajectories used by step row ' || c.step_id
       || ', which is ' || s.state AS what
FROM training.consumption c JOIN training.steps s ON s.id = c.step_id
WHERE s.state = 'failed'
GROUP BY c.window_id, c.step_id, s.state

-- name: uses_of_another_step
-- Trajectories used by a step that does not name their window.
SELECT c.window_id AS window, count(*) || ' trajectories used by step row ' || c.step_id
       || ', which is not of this window or of lineage ' || c.lineage AS what
FROM training.consumption c JOIN training.steps s ON s.id = c.step_id
WHERE NOT c.window_id = ANY (s.windows) OR s.lineage <> c.lineage
GROUP BY c.window_id, c.step_id, c.lineage

-- name: uses_of_dead_branches
-- Trajectories that no branch can use again although the branch that has used them is dead.
SELECT u.window_id AS window, count(*) || ' trajectories used by step ' || c.step || ' of lineage '
       || c.lineage || ', whose branch is dead' AS what
FROM training.checkpoints c
JOIN training.consumption u ON u.step_id = c.step_id
WHERE c.dead_at IS NOT NULL AND u.dead_at IS NULL
GROUP BY u.window_id, c.lineage, c.step

-- name: freed_without_reward
-- Trajectories of windows that a step may take, or all of which is used, that dead branches alone
-- have used and the newest reward version left out: nobody can use them, and nothing scores them.
SELECT w.window_id AS window, count(DISTINCT d.trajectory_id)
       || ' trajectories of dead branches without a reward in version ' || w.reward_version
       || ', such as ' || min(d.trajectory_id) AS what
FROM training.windows w
JOIN training.consumption d ON d.window_id = w.window_id AND d.reward_version < w.reward_version
JOIN trajectories t ON t."trajectoryId" = d.trajectory_id
WHERE w.state IN ('scored', 'trained') AND w.rescore IS NULL AND w.rows_pruned_at IS NULL
  AND coalesce(t."windowId", {{babylon.hour_of_start}}) = w.window_id
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.trajectory_id = d.trajectory_id AND c.dead_at IS NULL)
  AND NOT EXISTS (SELECT FROM training.scores s
                  WHERE s.trajectory_id = d.trajectory_id AND s.reward_version = w.reward_version)
  AND NOT EXISTS (SELECT FROM training.rejections r
                  WHERE r.trajectory_id = d.trajectory_id AND r.window_id = w.window_id
                    AND r.reward_version = w.reward_version)
GROUP BY w.window_id

-- name: used_twice_by_one_branch
-- Trajectories that a step has used and that one before it, on its way from the base model, has used.
WITH RECURSIVE again AS (
    SELECT d.lineage, d.trajectory_id, d.window_id, s.target_step AS step,
           s.target_step AS last, least(s.parent_step, s.target_step - 1) AS parent,
           (SELECT min(f.target_step) FROM training.consumption e
            JOIN training.steps f ON f.id = e.step_id
            WHERE e.lineage = d.lineage AND e.trajectory_id = d.trajectory_id) AS first
    FROM (SELECT DISTINCT lineage, trajectory_id FROM training.consumption
          WHERE dead_at IS NOT NULL) AS freed
    JOIN training.consumption d USING (lineage, trajectory_id)
    JOIN training.steps s ON s.id = d.step_id
    UNION ALL
    SELECT a.lineage, a.trajectory_id, a.window_id, s.target_step, a.last,
           least(s.parent_step, s.target_step - 1), a.first
    FROM again a
    JOIN training.steps s
      ON s.lineage = a.lineage AND s.target_step = a.parent AND s.state = 'committed'
    WHERE a.parent >= a.first
)
SELECT a.window_id AS window, count(*) || ' trajectories used by step ' || a.last || ' of lineage '
       || a.lineage || ' and before it by step ' || a.step AS what
FROM again a
JOIN training.steps s ON s.lineage = a.lineage AND s.target_step = a.step AND s.state = 'committed'
JOIN training.consumption c ON c.step_id = s.id AND c.trajectory_id = a.trajectory_id
WHERE a.step < a.last
GROUP BY a.window_id, a.lineage, a.last, a.step

-- name: gaps_in_steps
-- Lineages whose committed steps are not 1, 2, ... up to their head.
SELECT NULL AS window, 'lineage ' || l.name || ': head is step ' || l.head_step || ', committed are '
       || count(s.*) || ' up to ' || coalesce(max(s.target_step), 0) AS what
FROM training.lineages l
LEFT JOIN training.steps s ON s.lineage = l.name AND s.state = 'committed'
GROUP BY l.name
HAVING count(s.*) <> l.head_step OR coalesce(max(s.target_step), 0) <> l.head_step

-- name: steps_without_checkpoint
-- Committed steps without their checkpoint, and checkpoints without their committed step.
SELECT NULL AS window, 'lineage ' || lineage || ', step ' || step || ': '
       || CASE WHEN c.lineage IS NULL THEN 'committed without a checkpoint'
               ELSE 'a checkpoint without its committed step' END AS what
FROM (SELECT lineage, target_step AS step, id AS step_id FROM training.steps
      WHERE state = 'committed') s
FULL JOIN (SELECT lineage, step, step_id FROM training.checkpoints WHERE step > 0) c
    USING (lineage, step, step_id)
WHERE s.lineage IS NULL OR c.lineage IS NULL

-- name: steps_side_by_side
-- Lineages with more than one step in work.
SELECT NULL AS window, 'lineage ' || lineage || ': ' || count(*) || ' steps in work' AS what
FROM training.steps
WHERE state IN ('planned', 'running', 'trained')
GROUP BY lineage
HAVING count(*) > 1

-- name: steps_not_kept_whole
-- Steps that could be replayed but for trajectories that are not kept.
SELECT NULL AS window, 'step row ' || s.id || ' lists ' || count(*) || ' trajectories that are not kept'
       AS what
FROM training.steps s
CROSS JOIN LATERAL jsonb_path_query(s.manifest, '$.groups[*].members[*].content') AS listed (content)
WHERE s.members_kept_at IS NOT NULL AND s.members_pruned_at IS NULL
  AND NOT EXISTS (SELECT FROM training.step_members m
                  WHERE m.step_id = s.id AND m.content = decode(listed.content #>> '{}', 'hex'))
GROUP BY s.id

-- name: windows_training_without_step
-- Windows in training that no step in work names: nothing would ever end their training.
SELECT w.window_id AS window, 'is training, and no step in work names it' AS what
FROM training.windows w
WHERE w.state = 'training'
  AND NOT EXISTS (SELECT FROM training.steps s WHERE s.windows @> ARRAY[w.window_id::text]
                  AND s.state IN ('planned', 'running', 'trained'))

-- name: windows_of_steps_not_training
-- Windows that a step in work names and that are not in training: another step could take them.
SELECT w.window_id AS window, 'is ' || w.state || ', and step row ' || s.id || ' is in work' AS what
FROM training.steps s
JOIN training.windows w ON w.window_id = ANY (s.windows)
WHERE s.state IN ('planned', 'running', 'trained') AND w.state <> 'training'

-- name: lineages_done_with_windows_in_work
-- Windows that a lineage is done with although its step in work names them: its end would be lost.
SELECT e.window_id AS window, 'lineage ' || e.lineage || ' has it as ' || e.state || ', and its step row '
       || s.id || ' is in work' AS what
FROM training.lineage_windows e
JOIN training.steps s ON s.lineage = e.lineage AND e.window_id = ANY (s.windows)
WHERE e.state <> 'scored' AND s.state IN ('planned', 'running', 'trained')

-- name: windows_ended_before_their_trajectories
-- Trained windows with scores that no step has used and nothing has rejected.
SELECT w.window_id AS window, count(*) || ' scored trajectories neither used nor rejected, such as '
       || min(s.trajectory_id) AS what
FROM training.windows w JOIN training.scores s USING (window_id, reward_version)
WHERE w.state = 'trained' AND coalesce(w.reason, '') NOT IN ('no_spread', 'only_activity')
  AND w.rows_pruned_at IS NULL
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.trajectory_id = s.trajectory_id AND c.dead_at IS NULL)
  AND NOT EXISTS (SELECT FROM training.rejections r
                  WHERE r.trajectory_id = s.trajectory_id AND r.stage = 'dataset')
GROUP BY w.window_id

-- name: tripped_windows_trained
-- Windows that a step took after a tripwire of policy hold had refused them for the same rewards,
-- and before anybody accepted them.
SELECT t.window_id AS window,
       'step row ' || s.id || ' took it, though ' || t.kind || ' had tripped' AS what
FROM training.tripwires t
JOIN training.steps s ON s.lineage = t.lineage AND t.window_id = ANY (s.windows)
                     AND s.planned_at > t.found_at
LEFT JOIN training.accepted_tripwires a ON a.tripwire_id = t.id
JOIN training.windows w ON w.window_id = t.window_id AND w.reward_version = t.reward_version
WHERE t.policy = 'hold' AND coalesce(a.accepted_at > s.planned_at, true)
