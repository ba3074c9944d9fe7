-- part: ends
-- What ends a run of a step. At a takeover its worker was gone, and nobody knows since when.
('step_trained', 'step_broke_off', 'step_interrupted', 'step_failed', 'step_taken_over')

-- name: runs
-- Runs of steps that ended from a moment on: from the event that began each to the next one of its
-- step. Without seconds where nobody knows when it ended. OFFSET 0: each step by its id; else
-- Postgres may read all steps for some events.
SELECT s.id AS step_id, s.target_step AS step, s.backend, e.happened_at AS moment,
       CASE WHEN e.kind <> 'step_taken_over'
            THEN extract(epoch FROM e.happened_at - begun.happened_at)::float8 END AS seconds
FROM training.events e
CROSS JOIN LATERAL (
    SELECT id, target_step, backend FROM training.steps
    WHERE id = e.step_id AND lineage = %(lineage)s OFFSET 0) AS s
CROSS JOIN LATERAL (
    SELECT b.kind, b.happened_at FROM training.events b
    WHERE b.step_id = e.step_id AND b.id < e.id
      AND (b.kind = 'step_running' OR b.kind IN {{costs.ends}})
    ORDER BY b.id DESC LIMIT 1) AS begun
WHERE e.kind IN {{costs.ends}} AND begun.kind = 'step_running' AND e.happened_at >= %(since)s
ORDER BY e.id

-- name: gradings
-- What the judge was paid for from a moment on; windows are graded once for all lineages.
SELECT window_id AS window, happened_at AS moment, detail ->> 'model' AS model,
       (detail ->> 'prompt_tokens')::bigint AS prompt_tokens,
       (detail ->> 'completion_tokens')::bigint AS completion_tokens,
       (detail ->> 'usd')::float8 AS usd,
       coalesce((detail ->> 'uncounted')::bigint, 0) AS uncounted
FROM training.events
WHERE kind = 'judged' AND happened_at >= %(since)s
ORDER BY id

-- name: screens
-- The answers of screens that began from a moment on, and how many of them lack their tokens. What
-- agents had recorded was not asked for again.
SELECT s.step, l.backend, s.began_at AS moment, s.questions, count(a) AS answers,
       count(a) FILTER (WHERE a.prompt_tokens IS NULL) AS without_prompt,
       count(a) FILTER (WHERE a.tokens IS NULL) AS without_completion,
       coalesce(sum(a.prompt_tokens), 0)::bigint AS prompt_tokens,
       coalesce(sum(a.tokens), 0)::bigint AS completion_tokens
FROM training.screens s
JOIN training.lineages l ON l.name = s.lineage
LEFT JOIN training.screen_samples a
       ON a.screen_id = s.id AND (a.candidate OR s.against = 'serving')
WHERE s.lineage = %(lineage)s AND s.began_at >= %(since)s
GROUP BY s.id, l.backend
ORDER BY s.id

-- name: oldest_answer
-- When the oldest captured call from a moment on was asked.
SELECT min(asked_at) FROM training.calls WHERE asked_at >= %(since)s

-- name: answers
-- What checkpoints answered agents in a span of time, by the hour, as the gateway captured it.
SELECT date_trunc('hour', c.asked_at, 'UTC') AS moment, l.backend, count(*) AS answers,
       count(*) FILTER (WHERE c.prompt_tokens IS NULL) AS without_prompt,
       count(*) FILTER (WHERE c.completion_tokens IS NULL) AS without_completion,
       coalesce(sum(c.prompt_tokens), 0)::bigint AS prompt_tokens,
       coalesce(sum(c.completion_tokens), 0)::bigint AS completion_tokens
FROM training.calls c
JOIN training.lineages l ON l.name = c.lineage
WHERE c.lineage = %(lineage)s AND c.step IS NOT NULL
  AND c.asked_at >= %(since)s AND c.asked_at < %(before)s
GROUP BY 1, 2
ORDER BY 1

-- name: steps
-- Some steps: their windows, and how many trajectories they took of each. Without numbers where
-- the list was shortened, with the rows of its windows.
SELECT s.id AS step_id, s.target_step AS step, s.state, s.windows,
       (SELECT jsonb_object_agg(taken.window, taken.trajectories)
        FROM (SELECT each ->> 'window' AS window,
                     sum(jsonb_array_length(each -> 'members')) AS trajectories
              FROM jsonb_array_elements(s.manifest -> 'groups') AS each
              GROUP BY 1) AS taken) AS trajectories
FROM training.steps s
WHERE s.id = ANY (%(steps)s)
ORDER BY s.id

-- name: promotions
-- Promotions, and how much higher than that of what served the objective was, as the decision has
-- it, which gives the newest hours more weight (0.1.0 gave none); NULL: not measured.
SELECT to_step AS step, decided_at AS moment,
       coalesce(
           jsonb_path_query_first(evidence, '$.difference ? (@.type() == "number")')::float8,
           jsonb_path_query_first(evidence, '$.objective.candidate ? (@.type() == "number")')::float8
           - jsonb_path_query_first(evidence, '$.objective.serving ? (@.type() == "number")')::float8
       ) AS gain
FROM training.promotions
WHERE lineage = %(lineage)s AND decision = 'promote' AND decided_at >= %(since)s
ORDER BY id

-- name: promoted_before
-- When the last promotion before a moment was.
SELECT max(decided_at) FROM training.promotions
WHERE lineage = %(lineage)s AND decision = 'promote' AND decided_at < %(moment)s

-- name: noted_as_spent
-- Whether the newest event about a lineage's budget says that it is spent.
SELECT kind = 'budget_spent' FROM training.events
WHERE lineage = %(lineage)s AND kind IN ('budget_spent', 'budget_left')
ORDER BY id DESC LIMIT 1
