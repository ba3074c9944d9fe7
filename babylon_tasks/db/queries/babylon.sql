-- part: hour_of_start
-- The window of a trajectory whose writer set no window id.
to_char(date_trunc('hour', "startTime"), 'YYYY-MM-DD"T"HH24:00')

-- part: in_window
-- Trajectories of a window: by its id, or by their start.
("windowId" = %(window)s
 OR ("windowId" IS NULL AND "startTime" >= %(start)s::timestamp
     AND "startTime" < %(end)s::timestamp))

-- name: tables
-- Those of some tables that this user sees.
SELECT name FROM unnest(%(names)s::text[]) AS wanted (name)
WHERE to_regclass(quote_ident(name)) IS NOT NULL

-- name: place
-- The schemas on the search path.
SELECT current_schemas(false)

-- name: ours
-- What our lineages have published, by its name in Babylon's rows.
SELECT lineage || '@' || step FROM training.checkpoints

-- name: batches_of_others
-- Training runs of the last days that are not ours: how many, and when the newest began.
SELECT count(*), max("createdAt") AS newest FROM training_batches
WHERE "createdAt" >= now() AT TIME ZONE 'UTC' - make_interval(days => %(days)s)
  AND NOT "batchId" = ANY (%(ours)s)

-- name: models_of_others
-- Likewise for models.
SELECT count(*), max("createdAt") AS newest FROM trained_models
WHERE "createdAt" >= now() AT TIME ZONE 'UTC' - make_interval(days => %(days)s)
  AND NOT "modelId" = ANY (%(ours)s)

-- name: marks_of_others
-- Trajectories of the last days that another trainer has used: how many, and when the newest began.
SELECT count(*), max("startTime") AS newest
FROM trajectories
WHERE "windowId" >= to_char(now() AT TIME ZONE 'UTC' - make_interval(days => %(days)s),
                            'YYYY-MM-DD"T"HH24:00')
  AND "usedInTraining" AND NOT coalesce("trainedInBatch", '') = ANY (%(ours)s)

-- name: unnamed_rows
-- How many rows name no window, up to %(most)s, and whether an index has them by their start.
SELECT (SELECT count(*) FROM (SELECT FROM trajectories WHERE "windowId" IS NULL
                              LIMIT %(most)s) AS first) AS count,
       EXISTS (SELECT FROM pg_index i
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = to_regclass('trajectories') AND i.indisvalid
                 AND a.attname = 'startTime') AS indexed
