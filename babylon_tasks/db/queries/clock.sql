-- name: now
-- Postgres's clock, the only one that decides.
SELECT clock_timestamp()
