-- name: checkpoint
-- A checkpoint of a lineage, and what its step learned from.
SELECT c.step, s.parent_step AS parent, c.created_at, coalesce(s.windows, '{}') AS windows,
       c.step = l.serving_step AS serves, c.dead_at, c.discarded_at, c.pruned_at
FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
LEFT JOIN training.steps s ON s.id = c.step_id
WHERE c.lineage = %(lineage)s AND c.step = %(step)s

-- name: decisions
-- Every decision by which a checkpoint came into service or out of it, or was refused, in order.
SELECT decision, from_step, to_step, reason, evidence AS figures, actor, decided_at
FROM training.promotions
WHERE lineage = %(lineage)s
  AND (to_step = %(step)s OR from_step = %(step)s AND decision <> 'hold')
ORDER BY id

-- name: arms
-- The arms that had a checkpoint, in the order of decisions.
SELECT from_window, CASE WHEN control_step = %(step)s THEN 'control' ELSE 'examinee' END AS arm,
       CASE WHEN control_step = %(step)s THEN control_share ELSE examinee_share END AS share
FROM training.arms
WHERE lineage = %(lineage)s AND %(step)s IN (control_step, examinee_step)
ORDER BY id

-- name: trials
-- A checkpoint's trials: their windows, and what the last one led to.
SELECT w.comparison_id AS comparison, min(w.window_id) AS first, max(w.window_id) AS last,
       count(*) AS windows,
       (array_agg(w.conclusion ORDER BY w.window_id DESC))[1] AS conclusion
FROM training.comparison_windows w
JOIN training.comparisons c ON c.id = w.comparison_id
WHERE c.lineage = %(lineage)s AND w.observation ->> 'examinee' = %(name)s
GROUP BY w.comparison_id
ORDER BY w.comparison_id
