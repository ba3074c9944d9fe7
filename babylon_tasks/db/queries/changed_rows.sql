-- name: mark
-- Mark a window to be scored anew, except for what steps have used: of a trained one that is all.
UPDATE training.windows SET
    rescore = coalesce(rescore, %(why)s), changes = changes + 1, updated_at = now()
WHERE window_id = %(window)s AND rescore IS NULL AND changes < %(most)s AND state <> 'trained'
