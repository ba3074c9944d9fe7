-- name: set
-- Values for the rest of a transaction; the next one may be in another server session.
SELECT set_config(name, value, true)
FROM unnest(%(names)s::text[], %(values)s::text[]) AS chosen (name, value)

-- name: others
-- Those of some settings that have another value here. Postgres writes 30000ms as 30s.
SELECT name, coalesce(current_setting(name, true), '')
FROM unnest(%(names)s::text[], %(values)s::text[]) AS chosen (name, value)
WHERE CASE WHEN name LIKE '%%timeout' THEN current_setting(name)::interval <> value::interval
           ELSE current_setting(name, true) IS DISTINCT FROM value END
