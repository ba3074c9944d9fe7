-- name: tables
-- Which of some tables this user sees.
SELECT name FROM unnest(%(names)s::text[]) AS wanted (name)
WHERE to_regclass(quote_ident(name)) IS NOT NULL

-- name: place
-- The schemas that are looked at.
SELECT current_schemas(false)
