-- name: ensure
-- Insert a lineage; the base model of an existing one is never changed.
INSERT INTO training.lineages (name, base_model, backend)
VALUES (%(name)s, %(base_model)s, %(backend)s)
ON CONFLICT (name) DO NOTHING

-- name: lock_all
-- Lock the lineages: none of them ends anything in a window until the end of the transaction.
SELECT name FROM training.lineages ORDER BY name FOR UPDATE

-- name: ensure_base_checkpoint
-- Insert step 0, the base model itself, so that it can be served and evaluated like any other.
INSERT INTO training.checkpoints (lineage, step, uri, inference_name)
VALUES (%(name)s, 0, %(base_model)s, %(name)s || '@0')
ON CONFLICT (lineage, step) DO NOTHING

-- name: get
-- One lineage; leased: a worker trains it now.
SELECT name, base_model, backend, head_step, serving_step, inference_base_url,
       attempt AS fencing_token, lease_owner, coalesce(lease_until > now(), false) AS leased,
       data_folder, trouble
FROM training.lineages WHERE name = %(name)s

-- name: names
-- The lineages of the database.
SELECT name FROM training.lineages ORDER BY name

-- name: live
-- The lineages that somebody has worked on or served lately.
SELECT l.name FROM training.lineages l WHERE {{lineage_windows.live}} ORDER BY l.name

-- name: claim
-- Take the lease if it is free or expired; each claim takes the next fencing token.
UPDATE training.lineages SET
    attempt = attempt + 1, lease_owner = %(owner)s, updated_at = now(),
    lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE name = %(name)s AND coalesce(lease_until < clock_timestamp(), true)
RETURNING name AS lineage, lease_owner AS owner, attempt AS fencing_token, head_step, serving_step

-- name: renew
-- Extend a lease that is still ours, and the trainer's: whoever trains has the trainer.
UPDATE training.lineages SET
    lease_until = clock_timestamp() + make_interval(secs => %(seconds)s), updated_at = now(),
    trainer_until = greatest(trainer_until, clock_timestamp() + make_interval(secs => %(seconds)s))
WHERE name = %(name)s AND attempt = %(fencing_token)s

-- name: release
-- Release the lease; a newer claimant's is not changed.
UPDATE training.lineages SET lease_owner = NULL, lease_until = NULL, updated_at = now()
WHERE name = %(name)s AND attempt = %(fencing_token)s

-- name: lock
-- Lock the row while the lease is ours: no newer claim until this transaction ends.
SELECT head_step, serving_step FROM training.lineages
WHERE name = %(name)s AND attempt = %(fencing_token)s
FOR UPDATE

-- name: announce
-- Store where the trainer serves inference, and by which backend it trains.
UPDATE training.lineages SET backend = %(backend)s, inference_base_url = %(base_url)s,
    updated_at = now()
WHERE name = %(name)s

-- name: note_base_inference_name
-- Store the name by which the backend serves the base model.
UPDATE training.checkpoints SET inference_name = %(inference_name)s
WHERE lineage = %(name)s AND step = 0 AND inference_name <> %(inference_name)s

-- name: move_head
-- Move the head by one committed step.
UPDATE training.lineages SET head_step = %(step)s, updated_at = now()
WHERE name = %(name)s AND attempt = %(fencing_token)s AND head_step = %(step)s - 1

-- name: note_trouble
-- What is wrong with the lineage's files; NULL: nothing.
UPDATE training.lineages SET trouble = %(trouble)s, updated_at = now()
WHERE name = %(name)s AND trouble IS DISTINCT FROM %(trouble)s

-- name: checkpoints
-- Every checkpoint but the base model and those that are pruned, and what it consists of.
SELECT step, content_hash, files FROM training.checkpoints
WHERE lineage = %(name)s AND step > 0 AND pruned_at IS NULL ORDER BY step

-- name: parents
-- For each committed step, the step whose weights it was trained from.
SELECT target_step, parent_step FROM training.steps
WHERE lineage = %(name)s AND state = 'committed'

-- name: at_backend
-- The checkpoints that are not gone from the backend, and their numbers there.
SELECT step, coalesce(backend_step, step) AS backend_step, dead_at IS NOT NULL AS dead
FROM training.checkpoints
WHERE lineage = %(name)s AND step > 0 AND discarded_at IS NULL AND deleted_at IS NULL
ORDER BY step

-- name: inference_names
-- The names by which agents have requested steps; of a name that came again, the newest step.
SELECT inference_name, step FROM training.checkpoints WHERE lineage = %(name)s ORDER BY step

-- name: names_come_again
-- Names that an earlier checkpoint had, and the first hour in which they only mean the newest.
SELECT inference_name, to_char(max(created_at) AT TIME ZONE 'UTC' + interval '1 hour',
                               'YYYY-MM-DD"T"HH24:00')
FROM training.checkpoints
WHERE lineage = %(name)s
GROUP BY inference_name
HAVING count(*) > 1
