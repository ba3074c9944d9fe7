-- part: columns
-- A circuit; paused: nobody may try now.
name, fault, faults, reason, opened_at, next_try_at, coalesce(next_try_at > now(), false) AS paused

-- part: wait
-- The wait before the next try, doubled by each fault beyond the limit.
make_interval(secs => least(%(most)s, %(base)s * 2 ^ least(greatest(faults - %(limit)s, 0), 30)))

-- name: opened
-- The circuits that are open.
SELECT {{circuits.columns}} FROM training.circuits WHERE opened_at IS NOT NULL ORDER BY name

-- name: opened_by_name
-- One circuit, if it is open.
SELECT {{circuits.columns}} FROM training.circuits WHERE name = %(name)s AND opened_at IS NOT NULL

-- name: take_try
-- Take the try that is due: for the length of another wait nobody else gets one.
UPDATE training.circuits SET next_try_at = now() + {{circuits.wait}}, updated_at = now()
WHERE name = %(name)s AND opened_at IS NOT NULL AND next_try_at <= now()

-- name: count_fault
-- One fault more; of another kind, while it is closed, the first again.
INSERT INTO training.circuits AS c (name, fault, faults, reason)
VALUES (%(name)s, %(fault)s, 1, %(reason)s)
ON CONFLICT (name) DO UPDATE SET
    faults = CASE WHEN c.opened_at IS NOT NULL OR c.fault = excluded.fault
                  THEN c.faults + 1 ELSE 1 END,
    fault = excluded.fault, reason = excluded.reason, updated_at = now()

-- name: open
-- Open it at the limit, or let an open one wait longer; whether it has just been opened.
UPDATE training.circuits SET
    opened_at = coalesce(opened_at, now()), next_try_at = now() + {{circuits.wait}}
WHERE name = %(name)s AND (opened_at IS NOT NULL OR faults >= %(limit)s)
RETURNING opened_at = now() AS just_opened

-- name: close
-- Forget the faults; whether it was open.
DELETE FROM training.circuits WHERE name = %(name)s RETURNING opened_at IS NOT NULL AS was_open
