-- name: open
-- The beginning of the script that `babylon-tasks migrate --sql` prints.
\set ON_ERROR_STOP on

-- name: require_babylon
-- Create nothing without Babylon's tables.
DO $check$
BEGIN
    IF to_regclass('trajectories') IS NULL THEN
        RAISE EXCEPTION 'this may be the wrong database: % has no table trajectories (schemas looked at: %); nothing was created',
            current_database(), current_schemas(false)
        USING HINT = 'Connect to Babylon''s database, with its schema in search_path. For a database of its own: babylon-tasks migrate --sql --create-babylon-tables';
    END IF;
END
$check$;

-- name: create_babylon
-- Create Babylon's own tables as they are today, if none of them exists.
BEGIN;
{wait_for_turn};
SELECT coalesce(to_regclass('trajectories'), to_regclass('market_outcomes'),
                to_regclass('llm_call_logs'), to_regclass('trained_models'),
                to_regclass('training_batches'), to_regclass('reward_judgments')) IS NULL
       AS babylon_tasks_todo \gset
\if :babylon_tasks_todo
{sql}
\endif
COMMIT;

-- name: head
-- The ledger.
BEGIN;
{wait_for_turn};
{create_ledger};
COMMIT;

-- name: rights
-- The rights of the role that babylon-tasks works as; again each time, for what is new.
BEGIN;
{grant};
COMMIT;

-- name: each
-- Apply one migration once; psql's own \if keeps it from running twice.
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
