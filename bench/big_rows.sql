-- name: trajectories
-- Rows of Babylon, hour after hour: each agent bets on a market or a stock of its hour. A tenth names
-- no window, as Babylon's plugin does.
INSERT INTO trajectories (id, "trajectoryId", "agentId", archetype, "startTime", "endTime", "durationMs",
    "windowId", "scenarioId", "stepsJson", "rewardComponentsJson", "metricsJson", "metadataJson",
    "totalReward", "episodeLength", "finalStatus", "finalPnL", "createdAt", "updatedAt")
SELECT made.id, made.id, 'agent-' || n %% (20 * %(each)s), 'trader', made.begun, made.begun + interval '30 s',
       30000, CASE WHEN n %% 10 > 0 THEN made.hour END, 'scenario-' || n %% 8,
       replace(CASE WHEN n %% 3 = 0 THEN %(no)s ELSE %(yes)s END, '@market',
               'm-' || k || '-' || n %% 7),
       '{}', '{"episodeLength": 1}', '{"isTrainingData": true}', 0.2, 1, 'completed', n * 7 %% 100 - 50,
       made.begun, made.begun
FROM generate_series(1, %(rows)s) AS n
CROSS JOIN LATERAL (SELECT (n - 1) / %(each)s AS k) AS counted
CROSS JOIN LATERAL (
    SELECT '7' || lpad(n::text, 18, '0') AS id,
           to_char(%(first)s + k * interval '1 hour', 'YYYY-MM-DD"T"HH24:00') AS hour,
           %(first)s + k * interval '1 hour' + n %% %(each)s * interval '1 second' AS begun) AS made

-- name: outcomes
-- Seven prediction markets and some stocks end in each hour, as Babylon records it.
INSERT INTO market_outcomes (id, "windowId", "stockTicker", "startPrice", "endPrice", "changePercent",
                             "predictionMarketId", outcome)
SELECT gen_random_uuid()::text,
       to_char(%(first)s + k * interval '1 hour', 'YYYY-MM-DD"T"HH24:00'),
       CASE WHEN o >= 7 THEN 'T' || o END, CASE WHEN o >= 7 THEN 100 END,
       CASE WHEN o >= 7 THEN 101 END, CASE WHEN o >= 7 THEN 1 END,
       CASE WHEN o < 7 THEN 'm-' || k || '-' || o END,
       CASE WHEN o < 7 THEN CASE WHEN (k + o) %% 3 > 0 THEN 'YES' ELSE 'NO' END END
FROM generate_series(0, %(hours)s - 1) AS k, generate_series(0, %(markets)s - 1) AS o

-- name: windows
-- What became of the hours: every tenth is held out, the others are trained. Some of each age wait to
-- be scored, and nobody has opened the newest ones.
INSERT INTO training.windows (window_id, starts_at, held_out, state, trajectories, agents, scored,
    rejected, reward_mean, reward_std, profit_mean, right_share, sealed_at, scored_at, trained_at,
    late_checked_at, opened_at, updated_at)
SELECT to_char(made.begun, 'YYYY-MM-DD"T"HH24:00'), made.begun AT TIME ZONE 'UTC',
       k %% 10 = 0 AND NOT waits, CASE WHEN waits THEN 'sealed' WHEN k %% 10 = 0 THEN 'held_out' ELSE 'trained' END,
       %(each)s, %(each)s, CASE WHEN NOT waits THEN %(each)s END, CASE WHEN NOT waits THEN 0 END,
       CASE WHEN NOT waits THEN 0.5 END, CASE WHEN NOT waits THEN 0.2 END, 1, 0.6, made.ended,
       CASE WHEN NOT waits THEN made.ended END, CASE WHEN NOT waits AND k %% 10 > 0 THEN made.ended END,
       made.ended, made.ended, made.ended
FROM generate_series(0, %(hours)s - 1 - %(new)s) AS k
CROSS JOIN LATERAL (
    SELECT %(first)s + k * interval '1 hour' AS begun, k = ANY (%(waiting)s) AS waits,
           (%(first)s + k * interval '1 hour') AT TIME ZONE 'UTC' + interval '75 minutes' AS ended) AS made

-- name: scores
-- A reward for each trajectory of a scored hour.
INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id, group_key, scorer,
                             scorer_version, reward, components, content_hash)
SELECT t."trajectoryId", 1, w.window_id, t."agentId", t."scenarioId" || '|trader|bet', 'default', '2',
       (t."finalPnL" + 50) / 100, jsonb_build_object('profit', t."finalPnL", 'decisions', 1, 'activity', 2.5, 'right', 1),
       md5(t.id) || md5(t.id)
FROM trajectories t
JOIN training.windows w
  ON w.window_id = coalesce(t."windowId", to_char(t."startTime", 'YYYY-MM-DD"T"HH24:00'))
WHERE w.state IN ('trained', 'held_out')

-- name: lineage
-- One lineage, as far as its steps go.
INSERT INTO training.lineages (name, base_model, backend, head_step, serving_step)
VALUES ('babylon', %(model)s, 'cpu', %(steps)s, %(steps)s)

-- name: steps
-- Steps in the order of their hours, each of one; where there are more hours than steps, the others
-- are used up without one. A manifest lists two groups of sixteen.
INSERT INTO training.steps (lineage, base_step, target_step, state, attempt, backend, windows,
    manifest_hash, manifest, metrics, gradient_steps, trainable_tokens, adapter_hash, planned_at,
    started_at, trained_at, committed_at)
SELECT 'babylon', n - 1, n, 'committed', n, 'cpu', ARRAY[w.window_id], md5(n::text),
       jsonb_build_object('parent_step', n - 1, 'groups', %(groups)s::jsonb),
       '{"loss/train": 0.1, "entropy": 0.5, "reward_mean": 0.5}', 8, 4000, md5(n::text),
       w.scored_at, w.scored_at, w.scored_at, w.scored_at
FROM (SELECT window_id, scored_at, row_number() OVER (ORDER BY starts_at) AS n
      FROM training.windows WHERE state = 'trained') AS w
WHERE n <= %(steps)s
ORDER BY n

-- name: checkpoints
-- The base model's, and one for each step.
INSERT INTO training.checkpoints (lineage, step, step_id, uri, inference_name, created_at)
SELECT 'babylon', 0, NULL, 'base', 'babylon@0', %(first)s
UNION ALL
SELECT 'babylon', target_step, id, 'file', 'babylon@' || target_step, committed_at FROM training.steps

-- name: consumption
-- Half of an hour's trajectories were trained on, or used up; the rest was refused later.
INSERT INTO training.consumption (lineage, trajectory_id, reward_version, window_id, step_id, use)
SELECT 'babylon', c.trajectory_id, 1, c.window_id, s.id,
       CASE WHEN s.id IS NULL THEN 'no_spread' ELSE 'trained' END
FROM training.scores c
JOIN training.windows w ON w.window_id = c.window_id AND w.state = 'trained'
LEFT JOIN training.steps s ON s.windows = ARRAY[c.window_id::text]
WHERE right(c.trajectory_id, 1)::int %% 2 = 0

-- name: rejections
-- The other half: too old by the time that a step might have taken it, for which an hour has one text.
INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason, detail, lineage)
SELECT c.trajectory_id, c.window_id, 1, 'dataset', 'stale',
       CASE WHEN c.trajectory_id = min(c.trajectory_id) OVER (PARTITION BY c.window_id)
            THEN %(detail)s END, 'babylon'
FROM training.scores c
JOIN training.windows w ON w.window_id = c.window_id AND w.state = 'trained'
WHERE right(c.trajectory_id, 1)::int %% 2 = 1
ORDER BY c.trajectory_id

-- name: bets
-- The markets that each hour's bets name, with their outcomes.
INSERT INTO training.bets (window_id, kind, name, yes, change)
SELECT w.window_id, o.kind, o.name, o.yes, o.change
FROM training.windows w JOIN training.outcomes o ON o.window_id = w.window_id AND o.kind = 'market'
WHERE w.scored_at IS NOT NULL

-- name: figures
-- What steps took of hours, in figures.
INSERT INTO training.window_figures (step_id, lineage, window_id, figures)
SELECT id, lineage, windows[1], %(figures)s::jsonb FROM training.steps

-- name: evaluations
-- Each checkpoint's value on 32 held-out groups.
INSERT INTO training.evaluations (lineage, step, set_hash, windows, groups, value, coverage, entropy,
                                  group_values, evaluated_at)
SELECT lineage, target_step, 'set-' || target_step / 10, windows, 32, 0.5, 0.9, 0.5,
       (SELECT jsonb_agg(jsonb_build_object('value', 0.5, 'coverage', 0.9, 'entropy', 0.5,
                                            'says', jsonb_build_object('yes', 0.6, 'no', 0.4)))
        FROM generate_series(1, 32)), committed_at
FROM training.steps

-- name: promotions
-- Each was promoted, but for every fifth, which was held.
INSERT INTO training.promotions (lineage, decision, from_step, to_step, reason, evidence, actor,
                                 decided_at)
SELECT lineage, CASE WHEN target_step %% 5 = 0 THEN 'hold' ELSE 'promote' END, base_step, target_step,
       'as good as what serves', jsonb_build_object('candidate', 0.5, 'serving', 0.5, 'set_hash',
           'set-' || target_step / 10, 'refused', false), 'gpu-worker', committed_at
FROM training.steps

-- name: events
-- What happened to each hour and to each step, in order.
INSERT INTO training.events (happened_at, window_id, lineage, step_id, kind, detail, actor)
SELECT happened_at, window_id, lineage, step_id, kind, detail, 'cpu-worker'
FROM (
    SELECT w.updated_at AS happened_at, w.window_id, NULL AS lineage, NULL::bigint AS step_id, e.kind,
           e.detail::jsonb, e.place
    FROM training.windows w
    CROSS JOIN (VALUES (1, 'opened', '{"held_out": false}'), (2, 'sealed', '{"trajectories": 80}'),
                       (3, 'scored', '{"reward_version": 1, "scored": 80, "right_share": 0.6}'),
                       (4, 'grouped', '{"groups": 2, "left": 40}'), (5, 'training', '{}'),
                       (6, 'trained', '{}')) AS e (place, kind, detail)
    WHERE w.state = 'trained' OR w.state = 'held_out' AND e.place < 4 OR e.place < 3
    UNION ALL
    SELECT s.committed_at, NULL, s.lineage, s.id, e.kind,
           CASE WHEN e.kind = 'promote' THEN jsonb_build_object('to_step', s.target_step,
                                                                'from_step', s.base_step)
                ELSE '{"windows": 1}' END, 10 + e.place
    FROM training.steps s
    CROSS JOIN (VALUES (1, 'step_planned'), (2, 'step_running'), (3, 'step_trained'),
                       (4, 'step_committed'), (5, 'promote')) AS e (place, kind)
) AS every
ORDER BY happened_at, place

-- name: calls
-- What the gateway captured in the days that are kept.
INSERT INTO training.calls (capture_id, asked_at, window_id, agent_source, client, lineage, step,
    system_hash, user_hash, answer_hash, sample_state, token_ids, logprobs, sampling, prompt_tokens,
    completion_tokens, latency_ms, trajectory_id, place)
SELECT gen_random_uuid(), t."startTime" AT TIME ZONE 'UTC', to_char(t."startTime", 'YYYY-MM-DD"T"HH24:00'),
       'header', 'agents', 'babylon', %(steps)s, sha256('system'), sha256(t.id::bytea),
       sha256(t.id::bytea), 'complete', '\x000000000000000000000000', '\x000000000000000000000000',
       '{"temperature": 1, "top_p": 1}', 100, 3, 200, t."trajectoryId", 0
FROM trajectories t
WHERE t.id > %(after)s

-- name: index_unnamed
-- Whoever owns Babylon's tables may create it, where many rows name no hour.
CREATE INDEX trajectories_unnamed ON trajectories ("startTime") WHERE "windowId" IS NULL

-- name: sizes
-- What a row of each table and its indexes takes, in bytes, and how many rows there are.
SELECT relation::text, (SELECT reltuples::bigint FROM pg_class WHERE oid = relation) AS rows,
       pg_table_size(relation) AS bytes, pg_indexes_size(relation) AS index_bytes
FROM unnest(%(tables)s::regclass[]) AS relation
