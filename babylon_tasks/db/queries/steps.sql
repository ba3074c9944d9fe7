-- part: columns
-- A step; due: its next attempt need not wait any longer.
id, lineage, base_step, target_step, state, attempt AS fencing_token, tries AS attempts, windows,
manifest_hash, manifest, started_at, coalesce(next_attempt_at <= now(), true) AS due,
job_reference AS job, extract(epoch FROM now() - job_asked_at)::float8 AS asked_seconds, method

-- part: moved
-- What a transition may change.
state, attempt AS fencing_token, tries AS attempts, started_at

-- name: unfinished
-- The step that was begun and neither committed nor failed; at most one by the unique index.
SELECT {{steps.columns}}
FROM training.steps
WHERE lineage = %(lineage)s AND state IN ('planned', 'running', 'trained')

-- name: committed
-- The step that made a checkpoint.
SELECT {{steps.columns}}
FROM training.steps
WHERE lineage = %(lineage)s AND target_step = %(target_step)s AND state = 'committed'

-- name: plan
-- Insert a step, together with its claim on the data.
INSERT INTO training.steps (lineage, base_step, target_step, attempt, backend, windows,
                            manifest_hash, manifest, method)
VALUES (%(lineage)s, %(base_step)s, %(base_step)s + 1, %(fencing_token)s, %(backend)s, %(windows)s,
        %(manifest_hash)s, %(manifest)s, %(method)s)
RETURNING {{steps.columns}}

-- name: starts_from_lost
-- Whether a step starts from a checkpoint that was pruned, or rolled back, while it was planned.
SELECT EXISTS (
    SELECT FROM training.steps s
    JOIN training.checkpoints c ON c.lineage = s.lineage AND c.step = s.parent_step
    WHERE s.id = %(step_id)s AND (c.pruned_at IS NOT NULL OR c.dead_at IS NOT NULL))

-- name: start
-- Start a planned step. This and the next eight are the transitions of states.py.
UPDATE training.steps SET state = %(target)s, started_at = coalesce(started_at, now())
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: restart
-- Run the same step again, on the same data.
UPDATE training.steps SET
    state = %(target)s, started_at = coalesce(started_at, now()), tries = tries + %(attempts)s,
    progress = NULL, error = NULL
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: take_over
-- Take over an unfinished step; writes under the old token have no effect.
UPDATE training.steps SET state = %(target)s, attempt = %(fencing_token)s, next_attempt_at = NULL
WHERE id = %(step_id)s AND state = %(source)s AND attempt <= %(fencing_token)s
RETURNING {{steps.moved}}

-- name: postpone
-- After the trainer's death, let the step wait for its next attempt.
UPDATE training.steps SET
    state = %(target)s, error = %(error)s,
    next_attempt_at = now() + make_interval(secs => %(delay)s)
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: postpone_free
-- After a fault that is not its windows' own, the same, and the run does not count.
UPDATE training.steps SET
    state = %(target)s, tries = greatest(tries + %(attempts)s, 0), error = %(error)s,
    next_attempt_at = now() + make_interval(secs => %(delay)s)
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: interrupt
-- Record that the run was stopped from outside.
UPDATE training.steps SET
    state = %(target)s, tries = greatest(tries + %(attempts)s, 0), error = %(error)s
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: verify
-- Store the backend's verified result.
UPDATE training.steps SET
    state = %(target)s, trained_at = now(), metrics = %(metrics)s,
    gradient_steps = %(gradient_steps)s, trainable_tokens = %(trainable_tokens)s,
    adapter_hash = %(adapter_hash)s, error = NULL
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: commit
-- Commit the step.
UPDATE training.steps SET state = %(target)s, committed_at = now()
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: fail
-- Fail the step.
UPDATE training.steps SET state = %(target)s, failed_at = now(), error = %(error)s,
    metrics = coalesce(%(metrics)s, metrics)
WHERE id = %(step_id)s AND state = %(source)s AND attempt = %(fencing_token)s
RETURNING {{steps.moved}}

-- name: progress
-- Store the progress of the run.
UPDATE training.steps SET progress = %(progress)s
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state = 'running'

-- name: note_job
-- Store the reference of the job at W&B.
UPDATE training.steps SET
    job_reference = %(job)s,
    job_asked_at = CASE WHEN job_reference IS NULL THEN now() ELSE job_asked_at END
WHERE id = %(step_id)s AND attempt = %(fencing_token)s AND state = 'running'

-- name: failed_after_asking
-- The jobs of failed steps to this checkpoint, the newest first.
SELECT job_reference FROM training.steps
WHERE lineage = %(lineage)s AND target_step = %(target_step)s AND state = 'failed'
  AND job_reference IS NOT NULL
ORDER BY id DESC

-- name: committed_after
-- What was measured in committed steps to checkpoints after this one, in order.
SELECT target_step, coalesce(metrics, '{}') FROM training.steps
WHERE lineage = %(lineage)s AND target_step > %(after)s AND state = 'committed'
ORDER BY target_step
LIMIT %(limit)s

-- name: checkpoint
-- Insert the checkpoint that the step produced.
INSERT INTO training.checkpoints (lineage, step, step_id, uri, content_hash, files, inference_name,
                                  backend_step)
VALUES (%(lineage)s, %(step)s, %(step_id)s, %(uri)s, %(content_hash)s, %(files)s,
        %(inference_name)s, %(backend_step)s)

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
