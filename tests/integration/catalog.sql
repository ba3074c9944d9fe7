-- name: columns
-- Every column of a schema.
SELECT table_name, ordinal_position, column_name, udt_name, character_maximum_length,
       numeric_precision, numeric_scale, datetime_precision, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = %(schema)s ORDER BY 1, 2

-- name: constraints
-- Every constraint of a schema, as Postgres would print it.
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace ORDER BY 1, 2

-- name: indexes
-- Every index of a schema.
SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = %(schema)s ORDER BY 1, 2

-- name: others
-- Triggers, sequences, views, functions and types of a schema, and who may use its tables.
SELECT 'trigger', tgrelid::regclass::text, tgname::text FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = %(schema)s::regnamespace AND NOT tgisinternal
UNION ALL SELECT 'relation', relname, relkind::text || coalesce(relacl::text, '')
FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
UNION ALL SELECT 'function', proname, prosrc FROM pg_proc
WHERE pronamespace = %(schema)s::regnamespace
UNION ALL SELECT 'type', typname, typtype::text FROM pg_type
WHERE typnamespace = %(schema)s::regnamespace
ORDER BY 1, 2, 3

-- name: tables
-- The tables of a schema, ready to be named in a statement.
SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s ORDER BY 1
