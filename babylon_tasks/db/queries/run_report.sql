-- name: windows
-- The newest windows from a moment on, as the lineage sees them; idle: what keeps steps from one that
-- is scored.
SELECT window_id AS window, state, reason, agents, trajectories, scored, reward_mean, reward_std,
       right_share, sealed_at,
       CASE WHEN state <> 'scored' THEN NULL
            WHEN waits_until > now() THEN 'outcomes'
            WHEN rescore IS NOT NULL OR reason IS NOT NULL THEN 'new_rewards'
            WHEN tripped THEN 'tripwire' END AS idle,
       coalesce(trained_at, CASE WHEN state = 'held_out' THEN scored_at
                                 WHEN state IN ('skipped', 'failed', 'trained') OR left_over > 0
                                 THEN coalesce(settled_at, updated_at) END) AS done_at
FROM {{windows.seen}}
WHERE %(since)s::timestamptz IS NULL OR starts_at >= %(since)s
ORDER BY starts_at DESC
LIMIT %(limit)s

-- name: left_out
-- How many windows there are from a moment on, before the first one that is shown.
SELECT count(*) FROM training.windows
WHERE (%(since)s::timestamptz IS NULL OR starts_at >= %(since)s) AND window_id < %(first)s

-- name: rejections
-- Why trajectories of the windows from one on are not used by the lineage, in their newest version:
-- their rows, or what was kept of them.
SELECT w.window_id AS window, r.reason, r.count
FROM training.windows w
CROSS JOIN LATERAL (  -- by the window: Postgres might read the rejections of all others, too
    SELECT reason, count(*) AS count FROM training.rejections
    WHERE window_id = w.window_id AND reward_version = w.reward_version
      AND coalesce(lineage, %(lineage)s) = %(lineage)s
    GROUP BY reason) AS r
WHERE w.window_id >= %(first)s AND w.rows_pruned_at IS NULL
UNION ALL
SELECT w.window_id, kept.reason, sum(kept.count)::bigint
FROM training.windows w
CROSS JOIN jsonb_to_recordset(w.row_counts -> 'rejections')
    AS kept (reward_version integer, reason text, lineage text, count bigint)
WHERE w.window_id >= %(first)s AND w.rows_pruned_at IS NOT NULL
  AND kept.reward_version = w.reward_version
  AND coalesce(kept.lineage, %(lineage)s) = %(lineage)s
GROUP BY w.window_id, kept.reason

-- name: commits
-- The newest committed steps, and the newest window of each.
SELECT target_step AS step, (SELECT max(one) FROM unnest(windows) AS one) AS window, committed_at
FROM training.steps
WHERE lineage = %(lineage)s AND state = 'committed'
ORDER BY target_step DESC
LIMIT %(limit)s

-- name: decisions
-- The newest decisions, with the values on held-out groups that they were made from, and the base
-- model's on the same groups.
SELECT p.decision, p.from_step, p.to_step, p.reason, p.actor, p.decided_at,
       p.decision = 'hold' AND coalesce(jsonb_typeof(p.evidence -> 'refused') = 'string', false)
           AS refused,
       jsonb_path_query_first(p.evidence, '$.candidate ? (@.type() == "number")')::float8 AS value,
       jsonb_path_query_first(p.evidence, '$.serving ? (@.type() == "number")')::float8
           AS serving_value,
       base.value AS base_value
FROM training.promotions p
LEFT JOIN training.evaluations base
       ON base.lineage = p.lineage AND base.step = 0
          AND base.set_hash = p.evidence ->> 'set_hash'
WHERE p.lineage = %(lineage)s
ORDER BY p.id DESC
LIMIT %(limit)s

-- name: screens
-- The newest screens that have ended, and their shares of valid and right answers.
SELECT step, serving_step, against, result, ended_at,
       jsonb_path_query_first(figures, '$.valid.candidate ? (@.type() == "number")')::float8
           AS valid,
       jsonb_path_query_first(figures, '$.valid.other ? (@.type() == "number")')::float8
           AS valid_other,
       jsonb_path_query_first(figures, '$.right.candidate ? (@.type() == "number")')::float8
           AS right,
       jsonb_path_query_first(figures, '$.right.other ? (@.type() == "number")')::float8
           AS right_other
FROM training.screens
WHERE lineage = %(lineage)s AND ended_at IS NOT NULL
ORDER BY id DESC
LIMIT %(limit)s

-- name: conclusions
-- What the newest windows of comparisons led to, and what was done.
SELECT w.comparison_id AS comparison, w.window_id AS window, w.conclusion,
       w.evidence ->> 'reason' AS why, e.detail ->> 'done' AS done
FROM training.comparison_windows w
JOIN training.comparisons c ON c.id = w.comparison_id
LEFT JOIN training.events e
       ON e.window_id = w.window_id AND e.kind = 'concluded' AND e.lineage = c.lineage
          AND (e.detail ->> 'comparison')::bigint = w.comparison_id
WHERE c.lineage = %(lineage)s AND w.window_id >= %(first)s
  AND w.conclusion NOT IN ('keep', 'pause_comparison', 'late')
ORDER BY w.window_id DESC, w.comparison_id DESC
LIMIT %(limit)s

-- name: steps
-- The newest steps, or those of one number, whatever became of them; their manifests in short.
SELECT s.target_step AS step, s.parent_step AS parent, s.state, s.method, s.backend, s.windows,
       s.manifest_hash, listed.groups, listed.trajectories, s.gradient_steps, s.trainable_tokens,
       coalesce(s.metrics, '{}') AS metrics, s.tries AS attempts, s.planned_at,
       extract(epoch FROM coalesce(s.trained_at, s.failed_at) - s.started_at)::float8 AS seconds,
       s.adapter_hash, s.error
FROM (SELECT * FROM training.steps
      WHERE lineage = %(lineage)s AND (%(step)s::integer IS NULL OR target_step = %(step)s)
      ORDER BY id DESC LIMIT %(limit)s) AS s
CROSS JOIN LATERAL (
    SELECT nullif(count(*), 0) AS groups,
           sum(jsonb_array_length(each -> 'members'))::bigint AS trajectories
    FROM jsonb_array_elements(s.manifest -> 'groups') AS each) AS listed
ORDER BY s.id DESC

-- name: how_many_steps
-- How many steps a lineage has, whatever became of them.
SELECT count(*) FROM training.steps WHERE lineage = %(lineage)s

-- name: paired_values
-- Two checkpoints' values by group, on the newest held-out set that both were evaluated on.
SELECT ARRAY(SELECT (g ->> 'value')::float8 FROM jsonb_array_elements(v.group_values)
             WITH ORDINALITY AS e (g, place) ORDER BY place) AS now,
       ARRAY(SELECT (g ->> 'value')::float8 FROM jsonb_array_elements(before.group_values)
             WITH ORDINALITY AS e (g, place) ORDER BY place) AS before
FROM training.evaluations v
JOIN training.evaluations before
  ON before.lineage = v.lineage AND before.set_hash = v.set_hash AND before.step = %(before)s
WHERE v.lineage = %(lineage)s AND v.step = %(now)s AND {{evaluations.held_out}}
ORDER BY greatest(v.id, before.id) DESC
LIMIT 1

-- name: checkpoints
-- The newest checkpoints, whose weights each started from, and its newest value on held-out windows.
SELECT c.step, CASE WHEN c.step > 0 THEN coalesce(s.parent_step, c.step - 1) END AS parent,
       c.step = l.serving_step AS serves, c.dead_at, c.pruned_at,
       (SELECT v.value FROM training.evaluations v
        WHERE v.lineage = c.lineage AND v.step = c.step AND {{evaluations.held_out}}
        ORDER BY v.id DESC LIMIT 1) AS value
FROM training.checkpoints c
JOIN training.lineages l ON l.name = c.lineage
LEFT JOIN training.steps s ON s.id = c.step_id
WHERE c.lineage = %(lineage)s
ORDER BY c.step DESC
LIMIT %(limit)s

-- name: how_many_checkpoints
-- How many checkpoints a lineage has.
SELECT count(*) FROM training.checkpoints WHERE lineage = %(lineage)s

-- name: step_groups
-- What the newest step of a number took, group by group; nothing where it is no longer listed.
SELECT each ->> 'window' AS window, each ->> 'key' AS key,
       ARRAY(SELECT one ->> 'trajectory_id' FROM jsonb_array_elements(each -> 'members') AS one) AS members,
       ARRAY(SELECT (one ->> 'reward')::float8 FROM jsonb_array_elements(each -> 'members') AS one) AS rewards
FROM (SELECT manifest FROM training.steps
      WHERE lineage = %(lineage)s AND target_step = %(step)s ORDER BY id DESC LIMIT 1) AS newest
CROSS JOIN LATERAL jsonb_array_elements(newest.manifest -> 'groups') AS each
LIMIT %(limit)s
