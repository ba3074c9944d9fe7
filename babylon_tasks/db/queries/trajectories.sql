-- part: used_by_others
-- Whether another training has used a trajectory. Where the database has several lineages, what
-- one of them has used is free for the others, and what a dead branch has used is free for all:
-- training.consumption says what each has used.
("usedInTraining" AND NOT coalesce("trainedInBatch" = ANY (%(ours)s), false))

-- name: published
-- The names in Babylon's rows of the steps that exclude nothing from a lineage's next: all of them
-- where there is more than one lineage, else those whose branch is dead.
SELECT lineage || '@' || step FROM training.checkpoints WHERE dead_at IS NOT NULL
UNION ALL
SELECT lineage || '@' || step FROM training.checkpoints
WHERE dead_at IS NULL AND (SELECT count(*) > 1 FROM training.lineages)

-- name: copy_window
-- A window's rows as of one moment; text that is too large, or will not be used, is not sent.
-- A schema without archetypes takes the name from outside the subquery, where it is NULL.
COPY (
    SELECT {columns}
    FROM (
        SELECT "trajectoryId" AS trajectory_id, "agentId" AS agent_id, "scenarioId" AS scenario_id,
               CASE WHEN octet_length("stepsJson") <= %(largest)s
                         AND "isTrainingData" AND NOT "isEvaluation"
                         AND (%(used)s OR NOT {{trajectories.used_by_others}})
                    THEN "stepsJson" END AS steps_json,
               octet_length("stepsJson") AS steps_bytes, "finalPnL" AS final_pnl,
               "isEvaluation" AS is_evaluation, "isTrainingData" AS is_training_data,
               {{trajectories.used_by_others}} AS already_used, belonging.type AS archetype,
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
