-- name: of_window
-- The state of one window, the newest step that used it, and the decision about that step.
-- MATERIALIZED: otherwise Postgres might walk back through all steps until one has the window.
WITH used AS MATERIALIZED (
    SELECT id, target_step, state, gradient_steps, trainable_tokens, metrics, committed_at, progress
    FROM training.steps
    WHERE lineage = %(lineage)s AND windows @> ARRAY[%(window)s::text]
)
SELECT w.window_id AS window, {{lineage_windows.state}} AS state,
       CASE WHEN coalesce(mine.state, 'scored') <> 'scored' THEN mine.reason ELSE w.reason END
           AS reason, coalesce(w.agents, 0) AS agents,
       coalesce(w.trajectories, 0) AS trajectories, coalesce(w.scored, 0) AS scored,
       w.profit_mean, w.right_share,
       (SELECT coalesce(jsonb_object_agg(r.reason, r.n), '{}')
        FROM (SELECT reason, sum(count) AS n FROM {{reports.rejections}} counted
              GROUP BY reason) r) AS rejected,
       s.target_step AS step, s.state AS step_state,
       coalesce(s.gradient_steps, 0) AS gradient_steps,
       coalesce(s.trainable_tokens, 0) AS trainable_tokens,
       (s.metrics ->> 'loss/train')::float8 AS loss,
       p.decision, p.reason AS decision_reason,
       (p.evidence ->> 'candidate')::float8 AS evaluation,
       l.serving_step, s.progress AS step_progress,
       w.state IN ('held_out', 'skipped')
           AND (w.rescore IS NOT NULL
                OR w.state = 'held_out' AND w.waits_until IS NOT NULL
                   AND (w.waits_until > now() OR w.reason IS NOT NULL)) AS pending
FROM training.windows w
{{lineage_windows.mine}}
LEFT JOIN training.lineages l ON l.name = %(lineage)s
LEFT JOIN (SELECT * FROM used ORDER BY id DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (
    SELECT decision, reason, evidence FROM training.promotions p
    WHERE p.lineage = %(lineage)s AND p.to_step = s.target_step AND p.decided_at > s.committed_at
    ORDER BY p.id DESC LIMIT 1) p ON true
WHERE w.window_id = %(window)s
