-- name: mark_used
-- Set Babylon's own mark on its trajectories.
UPDATE trajectories SET
    "usedInTraining" = true, "trainedInBatch" = %(batch)s, "updatedAt" = now() AT TIME ZONE 'UTC'
WHERE "trajectoryId" = ANY (%(ids)s)

-- name: batch
-- Write Babylon's record of a training run.
INSERT INTO training_batches (
    id, "batchId", "scenarioId", "baseModel", "modelVersion", "trajectoryIds", "rewardsJson",
    "trainingLoss", status, "createdAt", "startedAt", "completedAt")
VALUES (
    %(name)s, %(name)s, %(scenario)s, %(base_model)s, %(version)s, %(trajectory_ids)s,
    %(rewards)s, %(loss)s, 'completed', now() AT TIME ZONE 'UTC',
    %(started_at)s::timestamptz AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')
ON CONFLICT (id) DO UPDATE SET
    "scenarioId" = excluded."scenarioId", "baseModel" = excluded."baseModel",
    "modelVersion" = excluded."modelVersion", "trajectoryIds" = excluded."trajectoryIds",
    "rewardsJson" = excluded."rewardsJson", "trainingLoss" = excluded."trainingLoss",
    status = excluded.status, error = NULL, "startedAt" = excluded."startedAt",
    "completedAt" = excluded."completedAt"

-- name: model
-- Write Babylon's record of a new model, about which nothing is decided yet.
INSERT INTO trained_models (
    id, "modelId", version, "baseModel", "trainingBatch", status, "storagePath", "avgReward",
    "createdAt", "updatedAt")
VALUES (
    %(name)s, %(name)s, %(version)s, %(base_model)s, %(name)s, 'training', %(inference_name)s,
    %(average_reward)s, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')
ON CONFLICT ("modelId") DO UPDATE SET
    version = excluded.version, "baseModel" = excluded."baseModel",
    "trainingBatch" = excluded."trainingBatch", status = excluded.status,
    "storagePath" = excluded."storagePath", "avgReward" = excluded."avgReward",
    "benchmarkScore" = NULL, "evalMetrics" = NULL, "deployedAt" = NULL, "archivedAt" = NULL,
    "createdAt" = excluded."createdAt", "updatedAt" = excluded."updatedAt"

-- name: serving_model
-- Insert a row for the serving checkpoint if it has none: the base model had no run.
INSERT INTO trained_models (
    id, "modelId", version, "baseModel", "trainingBatch", status, "storagePath", "createdAt",
    "updatedAt")
SELECT l.name || '@' || c.step, l.name || '@' || c.step, 'v1.0.' || c.step, l.base_model,
       CASE WHEN c.step > 0 THEN l.name || '@' || c.step END, 'training', c.inference_name,
       now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM training.lineages l
JOIN training.checkpoints c ON c.lineage = l.name AND c.step = l.serving_step
WHERE l.name = %(lineage)s AND l.head_step > 0
ON CONFLICT ("modelId") DO NOTHING

-- name: models
-- Align a lineage's models: the serving one is ready, and newer than any other.
WITH ours AS (
    SELECT l.name || '@' || c.step AS name, 'v1.0.' || c.step AS version, c.inference_name,
           c.step = l.serving_step AS serves,
           CASE WHEN c.step = l.serving_step THEN 'ready'
                WHEN c.step = l.head_step
                     AND NOT EXISTS (SELECT FROM training.promotions p
                                     WHERE p.lineage = l.name AND p.to_step = c.step)
                THEN 'training' ELSE 'archived' END AS status
    FROM training.lineages l
    JOIN training.checkpoints c ON c.lineage = l.name
    WHERE l.name = %(lineage)s
), others AS (
    SELECT max(m."createdAt") AS newest,
           max(m."createdAt") FILTER (WHERE NOT EXISTS (
               SELECT FROM training.checkpoints c WHERE c.lineage || '@' || c.step = m."modelId"
           )) AS newest_foreign
    FROM trained_models m
    WHERE m.status IN ('ready', 'deployed')
      AND m."modelId" NOT IN (SELECT name FROM ours)
), found AS (
    SELECT m.id, ours.*, now() AT TIME ZONE 'UTC' AS moment,
           ours.serves AND m.status NOT IN ('ready', 'deployed') AS comes,
           ours.serves AND coalesce(m."createdAt" <= others.newest_foreign, false) AS behind
    FROM ours
    JOIN trained_models m ON m."modelId" = ours.name
    CROSS JOIN others
)
UPDATE trained_models m SET
    status = found.status, version = found.version, "storagePath" = found.inference_name,
    "createdAt" = CASE WHEN found.comes OR found.behind
        THEN greatest(found.moment, others.newest + interval '1 ms') ELSE m."createdAt" END,
    "deployedAt" = CASE WHEN found.comes THEN found.moment
        WHEN found.serves THEN coalesce(m."deployedAt", found.moment) ELSE m."deployedAt" END,
    "archivedAt" = CASE found.status
        WHEN 'archived' THEN coalesce(m."archivedAt", found.moment) END,
    "updatedAt" = found.moment
FROM found CROSS JOIN others
WHERE m.id = found.id
  AND (found.behind
       OR (m.status, m.version, m."storagePath")
          IS DISTINCT FROM (found.status, found.version, found.inference_name))

-- name: value
-- Store what a decision about a model was based on.
UPDATE trained_models SET
    "benchmarkScore" = coalesce(%(score)s, "benchmarkScore"), "evalMetrics" = %(figures)s,
    "updatedAt" = now() AT TIME ZONE 'UTC'
WHERE "modelId" = %(name)s
