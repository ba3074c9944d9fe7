-- name: begin
-- Let this database tell the hours of a game, from now on and whoever asks.
CREATE OR REPLACE FUNCTION training.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT clock_timestamp() + make_interval(secs => {ahead})'

-- name: captured
-- How many answers of an hour the gateway has captured.
SELECT count(*) FROM training.calls WHERE window_id = %(window)s
