-- name: add
-- Note a checkpoint that is about to be set aside; none where one of its number is, in place.
INSERT INTO training.set_aside (lineage, step, step_id, folder, why)
SELECT %(lineage)s, %(step)s, %(step_id)s, %(folder)s, %(why)s
WHERE NOT (%(stays)s AND EXISTS (
    SELECT FROM training.set_aside
    WHERE lineage = %(lineage)s AND step = %(step)s AND deleted_at IS NULL))
RETURNING id

-- name: kept
-- Those that are not deleted, newest first.
SELECT id, step, folder, why, set_aside_at
FROM training.set_aside
WHERE lineage = %(lineage)s AND deleted_at IS NULL
ORDER BY id DESC

-- name: old
-- Those to delete: more than the newest ones, or from before the newest checkpoints.
SELECT id, step, folder, why, set_aside_at
FROM (SELECT s.*, row_number() OVER (ORDER BY s.id DESC) AS place, l.head_step
      FROM training.set_aside s
      JOIN training.lineages l ON l.name = s.lineage
      WHERE s.lineage = %(lineage)s AND s.deleted_at IS NULL) AS found
WHERE %(all)s OR place > %(newest)s OR step <= head_step - %(newest)s
ORDER BY id

-- name: note_deleted
-- Their files are gone.
UPDATE training.set_aside SET deleted_at = now()
WHERE id = ANY (%(ids)s) AND deleted_at IS NULL

-- name: note_gone
-- Those beyond a step are gone.
UPDATE training.set_aside SET deleted_at = now()
WHERE lineage = %(lineage)s AND step > %(after)s AND deleted_at IS NULL
