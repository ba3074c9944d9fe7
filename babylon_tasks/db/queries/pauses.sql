-- name: begin
-- Nothing is planned for a lineage until the pause is lifted.
INSERT INTO training.pauses (lineage, comparison_id, window_id, reason, actor)
VALUES (%(lineage)s, %(comparison)s, %(window)s, %(reason)s, %(actor)s)

-- name: in_force
-- The newest pause of a lineage that nobody has lifted.
SELECT p.id, p.comparison_id, p.window_id AS window, p.reason, p.actor, p.paused_at
FROM training.pauses p
WHERE p.lineage = %(lineage)s
  AND NOT EXISTS (SELECT FROM training.lifted_pauses l WHERE l.pause_id = p.id)
ORDER BY p.id DESC LIMIT 1

-- name: lift
-- Lift the pauses of a lineage.
INSERT INTO training.lifted_pauses (pause_id, reason, actor)
SELECT p.id, %(reason)s, %(actor)s FROM training.pauses p
WHERE p.lineage = %(lineage)s
  AND NOT EXISTS (SELECT FROM training.lifted_pauses l WHERE l.pause_id = p.id)
