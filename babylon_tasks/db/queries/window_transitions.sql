-- name: move
-- Compare-and-set of a window's state.
UPDATE training.windows SET
    state = %(target)s, reason = %(reason)s, updated_at = now(),
    next_attempt_at = now() + make_interval(secs => %(delay)s),
    lease_owner = NULL, lease_until = NULL,
    trained_at = CASE WHEN %(target)s = 'trained' THEN now() ELSE trained_at END
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window

-- name: retry
-- Retry a failed window: its attempts start again.
UPDATE training.windows SET
    state = %(target)s, reason = NULL, attempt = 0, training_tries = 0, next_attempt_at = NULL,
    enqueued_at = NULL, updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING window_id AS window
