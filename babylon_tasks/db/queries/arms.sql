-- name: begin
-- Arms that count from an hour on.
INSERT INTO training.arms (lineage, from_window, salt, control_share, control_step, control_model,
                           examinee_share, examinee_step)
VALUES (%(lineage)s, %(from_window)s, %(salt)s, %(control_share)s, %(control_step)s,
        %(control_model)s, %(examinee_share)s, %(examinee_step)s)

-- name: since
-- The arms in force in an hour, and those decided later, in order.
SELECT from_window, salt, control_share, control_step, control_model, examinee_share, examinee_step
FROM training.arms
WHERE lineage = %(lineage)s AND id >= coalesce(
    (SELECT max(id) FROM training.arms
     WHERE lineage = %(lineage)s AND from_window <= %(window)s), 0)
ORDER BY id

-- name: this_hour
-- The hour that has begun, as windows are named.
SELECT to_char(training.clock() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00')
