-- name: copy_window
-- A window's rows as of one moment; text that is too large, or will not be used, is not sent.
-- A schema without archetypes takes the name from outside the subquery, where it is NULL.
COPY (
    SELECT {columns}
    FROM (
        SELECT "trajectoryId" AS trajectory_id, "agentId" AS agent_id, "scenarioId" AS scenario_id,
               CASE WHEN octet_length("stepsJson") <= %(largest)s
                         AND "isTrainingData" AND NOT "isEvaluation"
                         AND (%(used)s OR NOT "usedInTraining")
                    THEN "stepsJson" END AS steps_json,
               octet_length("stepsJson") AS steps_bytes, "finalPnL" AS final_pnl,
               "isEvaluation" AS is_evaluation, "isTrainingData" AS is_training_data,
               "usedInTraining" AS already_used, belonging.type AS archetype,
               "windowId"::text AS window_id
        FROM (VALUES (NULL::text)) AS absent (archetype)
        CROSS JOIN LATERAL (
            SELECT *, archetype::text AS type FROM trajectories WHERE "windowId" = %(window)s
            UNION ALL
            SELECT *, archetype::text FROM trajectories
            WHERE "windowId" IS NULL
              AND "startTime" >= %(start)s::timestamp AND "startTime" < %(end)s::timestamp
        ) AS belonging
    ) AS named
) TO STDOUT (FORMAT binary)
