-- name: current
-- Who may serve and train the lineage now.
SELECT trainer_owner AS name, trainer_until AS until FROM training.lineages
WHERE name = %(lineage)s AND trainer_owner IS NOT NULL AND trainer_until >= clock_timestamp()

-- name: take
-- Take the trainer's lease if it is free, over, or of the same lock.
UPDATE training.lineages SET
    trainer_owner = %(lock_name)s, data_folder = %(folder_id)s, updated_at = now(),
    trainer_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE name = %(lineage)s
  AND (trainer_owner IS NULL OR trainer_owner = %(lock_name)s
       OR coalesce(trainer_until < clock_timestamp(), true))

-- name: renew
-- Extend the trainer's lease, also one that is over and that nobody else has taken.
UPDATE training.lineages SET
    updated_at = now(), trainer_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE name = %(lineage)s AND trainer_owner = %(lock_name)s

-- name: release
-- End the trainer's lease.
UPDATE training.lineages SET trainer_until = NULL, updated_at = now()
WHERE name = %(lineage)s AND trainer_owner = %(lock_name)s
