-- name: now
-- Postgres's clock, the only one that decides.
SELECT clock_timestamp()

-- name: of_hours
-- The clock by which hours begin: Postgres's, or that of a game.
SELECT training.clock()
