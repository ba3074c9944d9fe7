-- name: of_window
-- Where one window stands, the newest step that used it, and what was decided about that step.
SELECT w.window_id, w.state, w.reason, coalesce(w.agents, 0), coalesce(w.trajectories, 0),
       coalesce(w.scored, 0),
       w.profit_mean, w.right_share,
       (SELECT coalesce(jsonb_object_agg(r.reason, r.n), '{}')
        FROM (SELECT reason, count(*) AS n FROM training.rejections
              WHERE window_id = w.window_id AND reward_version = w.reward_version
              GROUP BY reason) r),
       s.target_step, s.state, coalesce(s.gradient_steps, 0), coalesce(s.trainable_tokens, 0),
       (s.metrics ->> 'loss/train')::float8, p.decision, p.reason,
       (p.evidence ->> 'candidate')::float8,
       l.serving_step,
       w.state IN ('held_out', 'skipped')
           AND (w.rescore IS NOT NULL
                OR w.state = 'held_out' AND w.waits_until IS NOT NULL
                   AND (w.waits_until > now() OR w.reason IS NOT NULL))
FROM training.windows w
LEFT JOIN training.lineages l ON l.name = %(lineage)s
LEFT JOIN LATERAL (
    SELECT * FROM training.steps s
    WHERE s.lineage = %(lineage)s AND s.windows @> ARRAY[w.window_id::text]
    ORDER BY s.id DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (
    SELECT * FROM training.promotions p
    WHERE p.lineage = %(lineage)s AND p.to_step = s.target_step AND p.decided_at > s.committed_at
    ORDER BY p.id DESC LIMIT 1) p ON true
WHERE w.window_id = %(window)s
