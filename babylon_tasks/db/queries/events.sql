-- name: record
-- One decision, for `babylon-tasks why`.
INSERT INTO training.events (window_id, lineage, step_id, kind, detail, actor)
VALUES (%(window_id)s, %(lineage)s, %(step_id)s, %(kind)s, %(detail)s, %(actor)s)
