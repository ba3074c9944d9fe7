-- The clock by which hours are told: which one has begun, and from which one on arms count. Leases go by
-- Postgres's own. A sandbox that plays an hour in seconds replaces it in its own database.
CREATE FUNCTION training.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT clock_timestamp()';
