-- name: now
-- Postgres's clock, the only one that decides.
SELECT training.clock()
