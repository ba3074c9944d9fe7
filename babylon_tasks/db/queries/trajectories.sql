-- name: copy_window
-- A window's rows as of one moment; text that is too large, or will not be used, is not sent.
-- A schema without archetypes takes the name from outside the subquery, where it is NULL.
COPY (
    SELECT "trajectoryId", "agentId", "scenarioId",
           CASE WHEN octet_length("stepsJson") <= %(largest)s
                     AND "isTrainingData" AND NOT "isEvaluation"
                     AND (%(used)s OR NOT "usedInTraining")
                THEN "stepsJson" END,
           octet_length("stepsJson"), "finalPnL",
           "isEvaluation", "isTrainingData", "usedInTraining", belonging.type, "windowId"::text
    FROM (VALUES (NULL::text)) AS absent (archetype)
    CROSS JOIN LATERAL (
        SELECT *, archetype::text AS type FROM trajectories WHERE "windowId" = %(window)s
        UNION ALL
        SELECT *, archetype::text FROM trajectories
        WHERE "windowId" IS NULL
          AND "startTime" >= %(start)s::timestamp AND "startTime" < %(end)s::timestamp
    ) AS belonging
) TO STDOUT (FORMAT binary)
