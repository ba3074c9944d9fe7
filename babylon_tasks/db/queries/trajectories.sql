-- name: begin_snapshot
-- The transaction just begun sees one moment and writes nothing.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: stream_window
-- A window's rows; text beyond the inline limit, or of rows that are not used anyway, stays behind.
SELECT "trajectoryId", "agentId", "scenarioId",
       CASE WHEN octet_length("stepsJson") <= %(inline)s::integer
                 AND "isTrainingData" AND NOT "isEvaluation" AND NOT "usedInTraining"
            THEN "stepsJson" END,
       octet_length("stepsJson"), "finalPnL", "isEvaluation", "isTrainingData", "usedInTraining"
FROM trajectories
WHERE "windowId" = %(window)s
UNION ALL
SELECT "trajectoryId", "agentId", "scenarioId",
       CASE WHEN octet_length("stepsJson") <= %(inline)s::integer
                 AND "isTrainingData" AND NOT "isEvaluation" AND NOT "usedInTraining"
            THEN "stepsJson" END,
       octet_length("stepsJson"), "finalPnL", "isEvaluation", "isTrainingData", "usedInTraining"
FROM trajectories
WHERE "windowId" IS NULL AND "startTime" >= %(start)s::timestamp AND "startTime" < %(end)s::timestamp

-- name: steps_of
-- The text of one large row.
SELECT "stepsJson" FROM trajectories WHERE "trajectoryId" = %(trajectory_id)s
