-- part: step
-- A training step, without its manifest.
id, lineage, base_step, target_step, state, method, tries AS attempts, backend, windows,
gradient_steps, trainable_tokens, metrics, progress, error, planned_at, started_at,
committed_at, failed_at

-- part: rejections
-- Why trajectories of a window (w) are not used by a lineage, or by any, in its newest version: its
-- rows, or what was kept of them.
(SELECT g.stage, g.reason, g.count, r.trajectory_id AS example, r.detail
 FROM (SELECT stage, reason, count(*) AS count, min(id) AS first
       FROM training.rejections
       WHERE window_id = w.window_id AND reward_version = w.reward_version
         AND w.rows_pruned_at IS NULL
         AND (%(lineage)s::text IS NULL OR coalesce(lineage, %(lineage)s) = %(lineage)s)
       GROUP BY stage, reason) g
 JOIN training.rejections r ON r.id = g.first
 UNION ALL
 SELECT stage, reason, sum(count)::bigint, min(example), min(detail)
 FROM jsonb_to_recordset(w.row_counts -> 'rejections')
     AS kept (reward_version integer, stage text, reason text, lineage text, count bigint,
              example text, detail text)
 WHERE w.rows_pruned_at IS NOT NULL AND reward_version = w.reward_version
   AND (%(lineage)s::text IS NULL OR coalesce(lineage, %(lineage)s) = %(lineage)s)
 GROUP BY stage, reason)

-- name: events_of_window
-- Every decision about a window, the steps that used it and their checkpoints, in order: of all
-- lineages, or of one and what is of none.
WITH used AS MATERIALIZED (
    SELECT id, lineage, target_step, state, committed_at FROM training.steps
    WHERE windows @> ARRAY[%(window)s::text]
), found AS (  -- each by an index of its own, which one condition with OR would not use
    SELECT e.id FROM training.events e WHERE e.window_id = %(window)s
    UNION
    SELECT e.id FROM used u
    JOIN training.events e ON e.step_id = u.id
    WHERE e.window_id IS NULL
    UNION
    SELECT e.id FROM used u
    JOIN training.events e ON e.lineage = u.lineage
                          AND (e.detail ->> 'to_step')::int = u.target_step
    WHERE e.kind IN ('promote', 'hold', 'rollback')
      AND u.state = 'committed' AND e.happened_at >= u.committed_at
    UNION
    SELECT e.id FROM used u
    JOIN training.events e ON e.lineage = u.lineage
                          AND (e.detail ->> 'from_step')::int = u.target_step
    WHERE e.kind IN ('promote', 'hold', 'rollback')
      AND u.state = 'committed' AND e.happened_at >= u.committed_at
)
SELECT e.happened_at, e.kind, e.actor, e.lineage, s.target_step, e.detail
FROM training.events e
LEFT JOIN used s ON s.id = e.step_id
WHERE e.id = ANY (ARRAY(SELECT id FROM found))
  AND (%(lineage)s::text IS NULL OR e.lineage IS NULL OR e.lineage = %(lineage)s)
ORDER BY e.id

-- name: rejections_of_window
-- Why trajectories of a window are not used, each with its first as an example, for the newest
-- reward version.
SELECT counted.*
FROM training.windows w CROSS JOIN LATERAL {{reports.rejections}} counted
WHERE w.window_id = %(window)s
ORDER BY counted.count DESC, counted.stage, counted.reason

-- name: uses_of_window
-- How a window's trajectories were used: trained, or used up without a step.
SELECT use, sum(count)::bigint FROM training.use_counts
WHERE window_id = %(window)s AND (%(lineage)s::text IS NULL OR lineage = %(lineage)s)
GROUP BY use ORDER BY 2 DESC, 1

-- name: steps_of_window
-- The steps that a window was part of, in order.
SELECT {{reports.step}}
FROM training.steps
WHERE windows @> ARRAY[%(window)s::text]
  AND (%(lineage)s::text IS NULL OR lineage = %(lineage)s)
ORDER BY id

-- name: evaluations_of_window
-- Values on held-out windows of the checkpoints that a window was trained into.
WITH used AS MATERIALIZED (  -- first: each is a few of all
    SELECT lineage, target_step FROM training.steps
    WHERE windows @> ARRAY[%(window)s::text] AND state = 'committed'
      AND (%(lineage)s::text IS NULL OR lineage = %(lineage)s)
)
SELECT v.step, v.value, v.coverage, v.groups, v.set_hash, v.evaluated_at
FROM training.evaluations v
WHERE {{evaluations.held_out}}
  AND (v.lineage, v.step) IN (SELECT lineage, target_step FROM used)
ORDER BY v.id

-- name: answers_of_window
-- What the answers came to that the newest step took of a window.
SELECT f.figures -> 'answers'
FROM training.steps s
JOIN training.window_figures f ON f.step_id = s.id AND f.window_id = %(window)s
WHERE s.windows @> ARRAY[%(window)s::text]
  AND (%(lineage)s::text IS NULL OR s.lineage = %(lineage)s)
ORDER BY s.id DESC
LIMIT 1

-- name: step_in_work
-- The step that has begun and not ended.
SELECT {{reports.step}}
FROM training.steps
WHERE lineage = %(lineage)s AND state IN ('planned', 'running', 'trained')

-- name: last_step
-- The newest committed step.
SELECT {{reports.step}}
FROM training.steps
WHERE lineage = %(lineage)s AND state = 'committed'
ORDER BY target_step DESC
LIMIT 1

-- name: oldest_due
-- The oldest window that is over, unused by the lineage and not waiting for outcomes, and when its
-- row last changed.
SELECT w.window_id AS window, {{lineage_windows.state}} AS state, w.updated_at AS since
FROM training.windows w
{{lineage_windows.mine}}
WHERE w.state IN ('sealed', 'scoring', 'scored', 'training') AND {{windows.backlog}}
ORDER BY w.starts_at
LIMIT 1

-- name: failed_windows
-- Windows that have failed for the lineage, newest first.
SELECT window_id AS window, reason FROM {{windows.seen}}
WHERE state = 'failed' AND window_id = ANY (ARRAY(
    SELECT f.window_id FROM training.windows f WHERE f.state = 'failed'
    UNION ALL
    SELECT f.window_id FROM training.lineage_windows f
    WHERE f.lineage = %(lineage)s AND f.state = 'failed'))
ORDER BY starts_at DESC LIMIT %(limit)s

-- name: captured_hour
-- What the gateway captured of the lineage in the newest hour that was trained or skipped: of
-- checkpoints, and what of that recorded calls took; tempered: those of them that were sampled at
-- another temperature or top_p than 1; others: of other servers; control and examinee: of agents
-- that were drawn for these arms, whoever answered.
SELECT window_id AS window, count(step) AS captured,
       count(*) FILTER (WHERE sample_state = 'complete') AS exact,
       count(trajectory_id) FILTER (WHERE step IS NOT NULL) AS joined,
       count(trajectory_id) FILTER (WHERE step IS NOT NULL
                                    AND (sampling -> 'temperature' <> '1'
                                         OR sampling -> 'top_p' <> '1')) AS tempered,
       count(*) FILTER (WHERE step IS NULL) AS others,
       count(*) FILTER (WHERE arm = 'control') AS control,
       count(*) FILTER (WHERE arm = 'examinee') AS examinee
FROM training.calls
WHERE window_id = (SELECT max(window_id) FROM training.windows WHERE state IN ('trained', 'skipped'))
  AND lineage = %(lineage)s
GROUP BY window_id

-- name: newest_captures
-- Of the newest captured answers of checkpoints, of the last day: how many there are, how many came without the ids
-- and log-probabilities of their tokens, and what they most often lacked.
SELECT count(*) AS captured, count(lacks) AS text_only,
       mode() WITHIN GROUP (ORDER BY lacks) AS lacks
FROM (SELECT CASE WHEN sample_state NOT IN ('complete', 'shaped', 'several')
                  THEN sample_state END AS lacks
      FROM training.calls
      WHERE lineage = %(lineage)s AND step IS NOT NULL AND asked_at > now() - interval '1 day'
      ORDER BY asked_at DESC LIMIT %(newest)s) AS newest

-- name: models
-- Every checkpoint, newest first, with its newest evaluation on held-out windows and the newest
-- decision about it.
SELECT c.step, c.inference_name, c.step = l.serving_step AS serving, c.step = l.head_step AS head,
       c.created_at, v.value, v.coverage, v.groups, p.decision, p.reason, p.actor,
       p.decision = 'rollback' AND p.to_step = c.step AS returned_to,
       c.uri, c.content_hash, c.pruned_at
FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
LEFT JOIN LATERAL (
    SELECT value, coverage, groups FROM training.evaluations v
    WHERE v.lineage = c.lineage AND v.step = c.step AND {{evaluations.held_out}}
    ORDER BY v.id DESC LIMIT 1) v ON true
LEFT JOIN LATERAL (
    SELECT * FROM (
        (SELECT * FROM training.promotions
         WHERE lineage = c.lineage AND to_step = c.step AND decided_at >= c.created_at
         ORDER BY id DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM training.promotions
         WHERE lineage = c.lineage AND from_step = c.step AND decision = 'rollback'
           AND decided_at >= c.created_at
         ORDER BY id DESC LIMIT 1)) AS newest
    ORDER BY id DESC LIMIT 1) p ON true
WHERE c.lineage = %(lineage)s
ORDER BY c.step DESC
LIMIT %(limit)s

-- name: server
-- Postgres's version, and its clock.
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number, clock_timestamp() AS clock
