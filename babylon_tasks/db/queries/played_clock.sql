-- name: stand_at
-- Let this database tell the hours of a game, from now on and whoever asks.
CREATE OR REPLACE FUNCTION training.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT clock_timestamp() + make_interval(secs => {ahead})'
