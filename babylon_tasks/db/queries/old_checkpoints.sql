-- name: to_prune
-- The checkpoints that nothing needs any more: all but the newest ones, of all and of those whose
-- branch lives, the head, what serves, what a rollback returns to, the best of the last evaluation,
-- what a step in work starts from, and what agents in other arms get.
SELECT c.step
FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
WHERE c.lineage = %(lineage)s AND c.step > 0 AND c.pruned_at IS NULL
  AND c.step <= l.head_step - %(newest)s
  AND (c.dead_at IS NOT NULL
       OR %(newest)s <= (SELECT count(*) FROM training.checkpoints newer
                         WHERE newer.lineage = l.name AND newer.step > c.step
                           AND newer.dead_at IS NULL))
  AND c.step <> l.serving_step
  AND c.step NOT IN (
      SELECT from_step FROM (
          SELECT from_step FROM training.promotions p
          WHERE p.lineage = l.name AND p.decision = 'promote' AND p.to_step = l.serving_step
          ORDER BY id DESC LIMIT 1) AS before)
  AND c.step NOT IN (
      SELECT to_step FROM (
          SELECT p.to_step FROM training.promotions p
          JOIN training.checkpoints whole
            ON whole.lineage = p.lineage AND whole.step = p.to_step AND whole.pruned_at IS NULL
          WHERE p.lineage = l.name AND p.decision = 'promote' AND p.to_step <> l.serving_step
            AND NOT EXISTS (SELECT FROM training.promotions r
                            WHERE r.lineage = p.lineage AND r.decision = 'rollback'
                              AND r.from_step = p.to_step)
          GROUP BY p.to_step ORDER BY max(p.id) DESC LIMIT %(fallbacks)s) AS served)
  AND c.step NOT IN (
      SELECT step FROM (
          SELECT e.step FROM training.evaluations e
          WHERE e.lineage = l.name AND e.set_hash = (
              SELECT set_hash FROM training.evaluations v
              WHERE v.lineage = l.name AND {{evaluations.held_out}}
              ORDER BY v.id DESC LIMIT 1)
          ORDER BY e.value DESC, e.step DESC LIMIT 1) AS best)
  AND NOT EXISTS (
      SELECT FROM training.steps s
      WHERE s.lineage = l.name AND s.state IN ('planned', 'running', 'trained')
        AND c.step IN (s.base_step, s.parent_step))
  AND NOT EXISTS (
      SELECT FROM training.arms a
      WHERE a.lineage = l.name AND c.step IN (a.control_step, a.examinee_step)
        AND a.id >= coalesce(
            (SELECT max(id) FROM training.arms begun
             WHERE begun.lineage = l.name AND begun.from_window <=
                   to_char((training.clock() - interval '1 hour') AT TIME ZONE 'UTC',
                           'YYYY-MM-DD"T"HH24:00')), 0))
  AND NOT (c.step = ANY (%(answered)s)
           AND EXISTS (SELECT FROM training.promotions p
                       WHERE p.lineage = l.name AND p.decision IN ('promote', 'rollback')
                         AND p.to_step = c.step))
ORDER BY c.step

-- name: mark
-- From now on they cannot be promoted, rolled back to or trained from.
UPDATE training.checkpoints SET pruned_at = now()
WHERE lineage = %(lineage)s AND step = ANY (%(steps)s) AND pruned_at IS NULL
RETURNING step, step_id

-- name: pruned
-- All that are marked, but for a discarded head, whose number a copy of its parent has.
SELECT c.step FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
WHERE c.lineage = %(lineage)s AND c.pruned_at IS NOT NULL
  AND NOT (c.discarded_at IS NOT NULL AND c.step = l.head_step)
ORDER BY c.step

-- name: to_delete
-- Those that are marked and may still have files.
SELECT step FROM training.checkpoints
WHERE lineage = %(lineage)s AND pruned_at IS NOT NULL AND deleted_at IS NULL ORDER BY step

-- name: note_deleted
-- Their files are gone.
UPDATE training.checkpoints SET deleted_at = now()
WHERE lineage = %(lineage)s AND step = ANY (%(steps)s) AND deleted_at IS NULL

-- name: without_optimizer
-- Checkpoints from which the next step does not start, so that nobody reads their optimizer's state.
SELECT c.step
FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
WHERE c.lineage = %(lineage)s AND c.step > 0 AND c.pruned_at IS NULL
  AND c.step NOT IN (l.head_step, l.serving_step)
  AND NOT EXISTS (
      SELECT FROM training.steps s
      WHERE s.lineage = l.name AND s.state IN ('planned', 'running', 'trained')
        AND c.step IN (s.base_step, s.parent_step))
ORDER BY c.step

-- name: ended_steps
-- Those of some steps that have ended: nobody reads the data they were run on.
SELECT id FROM training.steps
WHERE lineage = %(lineage)s AND id = ANY (%(ids)s) AND state IN ('committed', 'failed')

-- name: pruned_at
-- When a checkpoint was pruned; NULL: it was not.
SELECT pruned_at FROM training.checkpoints WHERE lineage = %(lineage)s AND step = %(step)s
