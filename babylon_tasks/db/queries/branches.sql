-- name: dead
-- The checkpoints whose branch is dead.
SELECT step FROM training.checkpoints WHERE lineage = %(lineage)s AND dead_at IS NOT NULL

-- name: lock_windows
-- The windows of steps, in the order in which everybody locks them.
SELECT w.window_id FROM training.windows w
WHERE w.window_id IN (SELECT unnest(s.windows) FROM training.steps s
                      JOIN training.checkpoints c ON c.step_id = s.id
                      WHERE c.lineage = %(lineage)s AND c.step = ANY (%(steps)s))
ORDER BY w.window_id
FOR UPDATE

-- name: end
-- The branch of some checkpoints is dead from now on.
UPDATE training.checkpoints SET dead_at = now()
WHERE lineage = %(lineage)s AND step = ANY (%(steps)s) AND dead_at IS NULL
RETURNING step, step_id

-- name: free_uses
-- What a step has used can be used again, by another branch.
UPDATE training.consumption SET dead_at = now() WHERE step_id = %(step_id)s AND dead_at IS NULL

-- name: revive
-- The branch of some checkpoints goes on after all.
UPDATE training.checkpoints SET dead_at = NULL
WHERE lineage = %(lineage)s AND step = ANY (%(steps)s) AND dead_at IS NOT NULL
RETURNING step, step_id

-- name: take_uses_back
-- What a step has used is used again, but for what has been used up without a step meanwhile.
UPDATE training.consumption c SET dead_at = NULL
WHERE c.step_id = %(step_id)s AND c.dead_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM training.consumption o
                  WHERE o.lineage = c.lineage AND o.trajectory_id = c.trajectory_id
                    AND o.dead_at IS NULL)

-- part: freed_unrewarded
-- What only dead branches of the lineage have used of a window (w), and the newest reward version, of
-- an earlier release, left out as used: nobody can use it before the window is scored anew.
SELECT DISTINCT d.trajectory_id FROM training.consumption d
JOIN trajectories t ON t."trajectoryId" = d.trajectory_id
WHERE d.window_id = w.window_id AND d.lineage = %(lineage)s AND d.dead_at IS NOT NULL
  AND d.reward_version < w.reward_version
  AND coalesce(t."windowId", {{babylon.hour_of_start}}) = w.window_id
  AND NOT EXISTS (SELECT FROM training.consumption c
                  WHERE c.lineage = d.lineage AND c.trajectory_id = d.trajectory_id
                    AND c.dead_at IS NULL)
  AND NOT EXISTS (SELECT FROM training.scores s
                  WHERE s.trajectory_id = d.trajectory_id AND s.reward_version = w.reward_version)
  AND NOT EXISTS (SELECT FROM training.rejections r
                  WHERE r.trajectory_id = d.trajectory_id AND r.window_id = w.window_id
                    AND r.reward_version = w.reward_version)

-- name: mark_freed
-- Have a locked window scored anew if something of it is free again and has no reward now.
UPDATE training.windows w SET rescore = %(because)s
WHERE w.window_id = %(window)s AND w.rows_pruned_at IS NULL
  AND w.state IN ('scored', 'training', 'trained', 'failed')
  AND EXISTS ({{branches.freed_unrewarded}})

-- name: note_left_over
-- A window on its way to a new reward version: what will be left over of it.
UPDATE training.windows SET left_over = %(left_over)s WHERE window_id = %(window)s

-- name: may_return
-- Whether a locked window can be taken again by a lineage that has used it: its rows are there, and
-- none of the lineage's steps has it in work.
SELECT coalesce({{lineage_windows.state}} IN ('trained', 'scored') AND w.rows_pruned_at IS NULL
                AND w.state IN ('scored', 'trained', 'training'), false)
FROM training.windows w
{{lineage_windows.mine}}
WHERE w.window_id = %(window)s

-- name: return_window
-- A window of which something can be used again: it is left over, and due at once.
UPDATE training.windows SET
    state = %(target)s, left_over = %(left_over)s, reason = NULL, training_tries = 0,
    next_attempt_at = NULL, enqueued_at = NULL, updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: to_discard
-- Dead checkpoints that the backend may still have, the newest first, and what serves. None while a
-- step in work was trained from one of them: it ends first.
SELECT c.step, c.step_id, l.serving_step AS serving
FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
WHERE c.lineage = %(lineage)s AND c.dead_at IS NOT NULL AND c.discarded_at IS NULL
  AND c.deleted_at IS NULL AND c.step <> l.serving_step
  AND NOT EXISTS (
      SELECT FROM training.steps s
      JOIN training.checkpoints d ON d.lineage = s.lineage AND d.step = s.parent_step
      WHERE s.lineage = l.name AND s.state IN ('planned', 'running', 'trained')
        AND d.dead_at IS NOT NULL)
ORDER BY c.step DESC

-- name: note_discarded
-- They are gone from the backend: they never serve again.
UPDATE training.checkpoints
SET discarded_at = now(), pruned_at = coalesce(pruned_at, now()), deleted_at = now()
WHERE lineage = %(lineage)s AND step = ANY (%(steps)s) AND discarded_at IS NULL
RETURNING step, step_id
