-- name: lock
-- The lineage's serving pointer, its row locked.
SELECT serving_step FROM training.lineages WHERE name = %(lineage)s FOR UPDATE

-- name: serving
-- What agents use now, and where.
SELECT l.serving_step AS step, c.inference_name, l.inference_base_url AS base_url,
       l.backend
FROM training.lineages l
JOIN training.checkpoints c ON c.lineage = l.name AND c.step = l.serving_step
WHERE l.name = %(lineage)s

-- name: servable
-- The checkpoints that can be asked, and their names at the server.
SELECT step, inference_name FROM training.checkpoints
WHERE lineage = %(lineage)s AND pruned_at IS NULL ORDER BY step

-- name: checkpoint
-- Whether a checkpoint is committed.
SELECT EXISTS (SELECT FROM training.checkpoints WHERE lineage = %(lineage)s AND step = %(step)s)

-- name: move
-- The serving pointer.
UPDATE training.lineages SET serving_step = %(step)s, updated_at = now()
WHERE name = %(lineage)s

-- name: windows_of
-- The windows that a checkpoint was trained on; none of step 0.
SELECT unnest(windows) FROM training.steps
WHERE lineage = %(lineage)s AND target_step = %(step)s AND state = 'committed'

-- name: record
-- Record a decision about a checkpoint, with its figures.
INSERT INTO training.promotions (lineage, decision, from_step, to_step, reason, evidence, actor)
VALUES (%(lineage)s, %(decision)s, %(from_step)s, %(to_step)s, %(reason)s, %(figures)s, %(actor)s)

-- name: latest
-- The newest decision.
SELECT decision, from_step, to_step, reason, evidence AS figures, actor, decided_at
FROM training.promotions WHERE lineage = %(lineage)s ORDER BY id DESC LIMIT 1

-- name: learns_anew_since
-- The window since which agents had earned less when the lineage returned to a checkpoint last.
SELECT evidence ->> 'since' FROM training.promotions
WHERE lineage = %(lineage)s AND decision = 'rollback' AND evidence ->> 'since' IS NOT NULL
ORDER BY id DESC LIMIT 1

-- name: before
-- The checkpoint that served before the current one was promoted.
SELECT from_step FROM training.promotions
WHERE lineage = %(lineage)s AND decision = 'promote' AND to_step = %(step)s
ORDER BY id DESC LIMIT 1

-- name: served_before
-- The checkpoints that were promoted and never taken out of service, the newest first, but for
-- those that are pruned.
SELECT p.to_step FROM training.promotions p
JOIN training.checkpoints c
  ON c.lineage = p.lineage AND c.step = p.to_step AND c.pruned_at IS NULL
WHERE p.lineage = %(lineage)s AND p.decision = 'promote' AND p.to_step <> %(step)s
  AND NOT EXISTS (SELECT FROM training.promotions r
                  WHERE r.lineage = p.lineage AND r.decision = 'rollback'
                    AND r.from_step = p.to_step)
GROUP BY p.to_step ORDER BY max(p.id) DESC

-- name: served
-- What has served, in this order: since when, and whether it still can. The first one always did.
WITH moved AS (
    SELECT id, from_step, to_step, decided_at FROM training.promotions
    WHERE lineage = %(lineage)s AND decision IN ('promote', 'rollback')
), served AS (
    SELECT id, to_step AS step, decided_at AS since FROM moved
    UNION ALL
    SELECT 0, coalesce((SELECT from_step FROM moved ORDER BY id LIMIT 1), l.serving_step), NULL
    FROM training.lineages l WHERE l.name = %(lineage)s
)
SELECT s.step, s.since, c.dead_at IS NULL AND c.pruned_at IS NULL AS usable
FROM served s
JOIN training.checkpoints c ON c.lineage = %(lineage)s AND c.step = s.step
ORDER BY s.id

-- name: rolled_back
-- Whether one of these checkpoints was taken out of service.
SELECT EXISTS (
    SELECT FROM training.promotions p
    WHERE p.lineage = %(lineage)s AND p.decision = 'rollback'
      AND p.from_step = ANY (%(steps)s)
)

-- name: rolled_back_since
-- Who has rolled back a lineage last since a moment.
SELECT actor FROM training.promotions
WHERE lineage = %(lineage)s AND decision = 'rollback' AND decided_at > %(moment)s
ORDER BY id DESC LIMIT 1

-- name: head_is_unevaluated
-- Whether the newest checkpoint was committed more than so many seconds ago and is not evaluated.
SELECT EXISTS (
    SELECT FROM training.lineages l
    JOIN training.checkpoints c ON c.lineage = l.name AND c.step = l.head_step
    WHERE l.name = %(lineage)s AND l.head_step <> l.serving_step
      AND c.created_at < now() - make_interval(secs => %(seconds)s)
      AND NOT EXISTS (SELECT FROM training.steps s  -- its branch is dead
                      JOIN training.checkpoints d
                        ON d.lineage = s.lineage AND d.step IN (s.target_step, s.parent_step)
                      WHERE s.id = c.step_id AND d.dead_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM training.promotions p
                      WHERE p.lineage = l.name AND l.head_step IN (p.to_step, p.from_step)
                        AND p.decided_at > c.created_at))
