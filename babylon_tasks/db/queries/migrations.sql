-- name: wait_for_turn
-- One runner at a time, until the end of its transaction; also safe behind a transaction pooler.
SELECT pg_advisory_xact_lock(7018331104227)

-- name: bound_waits
-- Give up rather than queue: waiting for a table lock makes all later readers wait too.
SELECT set_config('lock_timeout', %(milliseconds)s::text, true)

-- name: create_ledger
-- The ledger, created by the runner itself before the first migration.
CREATE SCHEMA IF NOT EXISTS training;
CREATE TABLE IF NOT EXISTS training.migrations (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: has_ledger
-- Whether anything was ever migrated here.
SELECT to_regclass('training.migrations') IS NOT NULL

-- name: ledger
-- What has been applied, in order.
SELECT name, checksum, applied_at FROM training.migrations ORDER BY name

-- name: record
-- One more applied, in the transaction that applied it.
INSERT INTO training.migrations (name, checksum) VALUES (%(name)s, %(checksum)s)

-- name: grant
-- What the processes' role needs where another role owns the schema; for psql and for the runner.
GRANT USAGE ON SCHEMA training TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA training TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA training TO {role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA training TO {role}
