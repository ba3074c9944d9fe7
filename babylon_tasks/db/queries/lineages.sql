-- name: ensure
-- A lineage's first row; the base model of an existing one is never changed.
INSERT INTO training.lineages (name, base_model, backend)
VALUES (%(name)s, %(base_model)s, %(backend)s)
ON CONFLICT (name) DO NOTHING

-- name: ensure_base_checkpoint
-- Step 0, the base model itself, so that it can be served and valued like any other.
INSERT INTO training.checkpoints (lineage, step, uri, inference_name)
VALUES (%(name)s, 0, %(base_model)s, %(name)s || '@0')
ON CONFLICT (lineage, step) DO NOTHING

-- name: get
-- One lineage; leased: somebody is at work on it.
SELECT name, base_model, backend, head_step, serving_step, inference_base_url,
       attempt AS fencing_token, lease_owner, coalesce(lease_until > now(), false) AS leased
FROM training.lineages WHERE name = %(name)s

-- name: claim
-- Take the lease if it is free or expired; each claim takes the next fencing token.
UPDATE training.lineages SET
    attempt = attempt + 1, lease_owner = %(owner)s, updated_at = now(),
    lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE name = %(name)s AND coalesce(lease_until < clock_timestamp(), true)
RETURNING name AS lineage, lease_owner AS owner, attempt AS fencing_token, head_step, serving_step

-- name: renew
-- Push the end of a lease out while it is still ours.
UPDATE training.lineages SET
    lease_until = clock_timestamp() + make_interval(secs => %(seconds)s), updated_at = now()
WHERE name = %(name)s AND attempt = %(fencing_token)s

-- name: release
-- Give the lease back; a newer claimant's stays untouched.
UPDATE training.lineages SET lease_owner = NULL, lease_until = NULL, updated_at = now()
WHERE name = %(name)s AND attempt = %(fencing_token)s

-- name: lock
-- Lock the row while the lease is ours: no newer claim until this transaction ends.
SELECT head_step, serving_step FROM training.lineages
WHERE name = %(name)s AND attempt = %(fencing_token)s
FOR UPDATE

-- name: announce
-- Where the trainer serves inference, and by which backend it trains.
UPDATE training.lineages SET backend = %(backend)s, inference_base_url = %(base_url)s,
    updated_at = now()
WHERE name = %(name)s

-- name: note_base_inference_name
-- The name by which the backend serves the base model.
UPDATE training.checkpoints SET inference_name = %(inference_name)s
WHERE lineage = %(name)s AND step = 0 AND inference_name <> %(inference_name)s

-- name: move_head
-- Move the head by one committed step.
UPDATE training.lineages SET head_step = %(step)s, updated_at = now()
WHERE name = %(name)s AND attempt = %(fencing_token)s AND head_step = %(step)s - 1

-- name: parents
-- Of each committed step, the one whose weights it was trained on from.
SELECT target_step, parent_step FROM training.steps
WHERE lineage = %(name)s AND state = 'committed'

-- name: inference_names
-- By which names agents have asked for which steps.
SELECT inference_name, step FROM training.checkpoints WHERE lineage = %(name)s
