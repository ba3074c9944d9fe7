-- name: unfinished
-- The step that was begun and neither committed nor failed; at most one by the unique index.
SELECT id, lineage, base_step, target_step, state, attempt AS fencing_token, tries AS attempts,
       windows, manifest_hash, manifest, coalesce(next_attempt_at <= now(), true) AS due
FROM training.steps
WHERE lineage = %(lineage)s AND state IN ('planned', 'running', 'trained')

-- name: plan
-- A step's first row, together with its claim on the data.
INSERT INTO training.steps (lineage, base_step, target_step, attempt, backend, windows,
                            manifest_hash, manifest)
VALUES (%(lineage)s, %(base_step)s, %(base_step)s + 1, %(fencing_token)s, %(backend)s, %(windows)s,
        %(manifest_hash)s, %(manifest)s)
RETURNING id, lineage, base_step, target_step, state, attempt AS fencing_token, tries AS attempts,
          windows, manifest_hash, manifest, true AS due

-- name: start
-- A planned step begins.
UPDATE training.steps SET state = 'running', started_at = coalesce(started_at, now())
WHERE id = %(step_id)s AND state = 'planned' AND attempt = %(fencing_token)s

-- name: adopt
-- A newer claimant takes an unfinished step over; what is written under the old token is void.
UPDATE training.steps SET attempt = %(fencing_token)s, next_attempt_at = NULL
WHERE id = %(step_id)s AND state IN ('planned', 'running', 'trained')
RETURNING state

-- name: try_again
-- The same step, the same data, once more.
UPDATE training.steps SET tries = tries + 1, progress = NULL, error = NULL
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state IN ('planned', 'running')

-- name: give_back_try
-- An interruption from outside is nobody's fault.
UPDATE training.steps SET tries = greatest(tries - 1, 0), error = %(error)s
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state IN ('planned', 'running')

-- name: postpone
-- The trainer died; the step waits for its next attempt.
UPDATE training.steps SET
    error = %(error)s, next_attempt_at = now() + make_interval(secs => %(delay)s)
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state IN ('planned', 'running', 'trained')

-- name: progress
-- How far the run has come.
UPDATE training.steps SET progress = %(progress)s
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state = 'running'

-- name: trained
-- The backend's word, verified.
UPDATE training.steps SET
    state = 'trained', trained_at = now(), metrics = %(metrics)s,
    gradient_steps = %(gradient_steps)s, trainable_tokens = %(trainable_tokens)s,
    adapter_hash = %(adapter_hash)s, error = NULL
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state = 'running'

-- name: commit
-- The step counts.
UPDATE training.steps SET state = 'committed', committed_at = now()
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state = 'trained'
RETURNING started_at, adapter_hash, metrics

-- name: checkpoint
-- What the step produced.
INSERT INTO training.checkpoints (lineage, step, step_id, uri, content_hash, inference_name)
VALUES (%(lineage)s, %(step)s, %(step_id)s, %(uri)s, %(content_hash)s, %(inference_name)s)

-- name: fail
-- The step does not count.
UPDATE training.steps SET state = 'failed', failed_at = now(), error = %(error)s,
    metrics = coalesce(%(metrics)s, metrics)
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state = %(state)s

-- name: failed_at_target
-- Whether a step to this checkpoint was planned from this manifest and failed.
SELECT EXISTS (
    SELECT FROM training.steps
    WHERE lineage = %(lineage)s AND target_step = %(target_step)s AND state = 'failed'
      AND manifest_hash = %(manifest_hash)s
)

-- name: step_of_window
-- The step that a window was trained in.
WITH used AS MATERIALIZED (
    SELECT id, target_step FROM training.steps
    WHERE lineage = %(lineage)s AND state = 'committed' AND windows @> ARRAY[%(window)s::text]
)
SELECT target_step FROM used ORDER BY id DESC LIMIT 1
