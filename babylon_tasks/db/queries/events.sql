-- name: record
-- One decision, for `babylon-tasks why`.
INSERT INTO training.events (window_id, lineage, step_id, kind, detail, actor)
VALUES (%(window_id)s, %(lineage)s, %(step_id)s, %(kind)s, %(detail)s, %(actor)s)

-- name: of_window
-- Every decision about a window, and about the steps that used it, in order.
SELECT e.id, e.happened_at, e.window_id, e.lineage, e.step_id, e.kind, e.detail, e.actor
FROM training.events e
WHERE e.window_id = %(window_id)s
   OR e.step_id IN (SELECT id FROM training.steps WHERE %(window_id)s::text = ANY (windows))
ORDER BY e.id
