-- name: copy_window
-- A window's rows as of one moment; text that is too large, or that nobody will use, stays behind.
COPY (
    SELECT "trajectoryId", "agentId", "scenarioId",
           CASE WHEN octet_length("stepsJson") <= %(largest)s
                     AND "isTrainingData" AND NOT "isEvaluation" AND NOT "usedInTraining"
                THEN "stepsJson" END,
           octet_length("stepsJson"), "finalPnL",
           "isEvaluation", "isTrainingData", "usedInTraining"
    FROM (
        SELECT * FROM trajectories WHERE "windowId" = %(window)s
        UNION ALL
        SELECT * FROM trajectories
        WHERE "windowId" IS NULL
          AND "startTime" >= %(start)s::timestamp AND "startTime" < %(end)s::timestamp
    ) AS belonging
) TO STDOUT (FORMAT binary)
