-- name: head
-- What opens the script that `babylon-tasks migrate --sql` prints.
\set ON_ERROR_STOP on
BEGIN;
{wait_for_turn};
{create_ledger};
COMMIT;

-- name: each
-- One migration, applied once; psql's own \if keeps it from running twice.
BEGIN;
{wait_for_turn};
DO $check$
BEGIN
    IF EXISTS (
        SELECT FROM training.migrations WHERE name = '{name}' AND checksum <> '{checksum}'
    ) THEN
        RAISE EXCEPTION 'migration {name} was applied with other contents: add a new file instead';
    END IF;
END
$check$;
SELECT NOT EXISTS (SELECT FROM training.migrations WHERE name = '{name}') AS babylon_tasks_todo \gset
\if :babylon_tasks_todo
{sql}
INSERT INTO training.migrations (name, checksum) VALUES ('{name}', '{checksum}');
\endif
COMMIT;
