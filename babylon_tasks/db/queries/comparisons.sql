-- part: comparison
-- A comparison with its end.
SELECT c.id, c.anchor_step, c.anchor_model, c.parameters::text AS parameters, c.began_window,
       c.actor, c.began_at, e.reason AS ended_why, e.actor AS ended_by, e.ended_at
FROM training.comparisons c
LEFT JOIN training.ended_comparisons e ON e.comparison_id = c.id

-- part: window
-- A window of a comparison.
SELECT window_id AS window, reward_version, conclusion, observation::text AS observation,
       state::text AS state, evidence::text AS evidence, compared_at
FROM training.comparison_windows

-- name: begin
-- Begin a comparison.
INSERT INTO training.comparisons (lineage, anchor_step, anchor_model, parameters, began_window, actor)
VALUES (%(lineage)s, %(anchor_step)s, %(anchor_model)s, %(parameters)s, %(began_window)s, %(actor)s)

-- name: end
-- End a comparison.
INSERT INTO training.ended_comparisons (comparison_id, reason, actor)
VALUES (%(id)s, %(reason)s, %(actor)s)

-- name: newest
-- The newest comparison of a lineage.
{{comparisons.comparison}}
WHERE c.lineage = %(lineage)s ORDER BY c.id DESC LIMIT 1

-- name: get
-- A comparison of a lineage by its number.
{{comparisons.comparison}}
WHERE c.lineage = %(lineage)s AND c.id = %(id)s

-- name: next_window
-- The earliest window that can be compared and was not. One that is not ready keeps later ones
-- waiting for a while.
SELECT w.window_id AS window, w.reward_version
FROM training.windows w
WHERE w.window_id >= %(first)s AND w.scored_at IS NOT NULL AND w.rows_pruned_at IS NULL AND w.rescore IS NULL
  AND w.state IN ('scored', 'training', 'trained', 'held_out', 'skipped')
  AND coalesce(w.waits_until <= now(), true)
  AND (w.state = 'skipped' OR w.reason IS NULL OR w.waits_until IS NULL)
  AND NOT EXISTS (SELECT FROM training.comparison_windows c
                  WHERE c.comparison_id = %(id)s AND c.window_id = w.window_id)
  AND (w.window_id < %(last)s OR NOT EXISTS (
      SELECT FROM training.windows e
      WHERE e.window_id > %(last)s AND e.window_id >= %(first)s AND e.window_id < w.window_id
        AND e.state NOT IN ('failed', 'skipped')
        AND (e.scored_at IS NULL OR e.rescore IS NOT NULL OR e.state IN ('sealed', 'scoring')
             OR e.waits_until IS NOT NULL AND (e.waits_until > now() OR e.reason IS NOT NULL))
        AND greatest(e.starts_at + interval '1 hour', e.waits_until)
            > now() - make_interval(hours => %(grace)s)
        AND NOT EXISTS (SELECT FROM training.comparison_windows d
                        WHERE d.comparison_id = %(id)s AND d.window_id = e.window_id)))
ORDER BY w.window_id LIMIT 1

-- name: agents
-- The agents that were active in a window: rewards, those of the day before, answers, and which arm's
-- model answered them.
-- A schema without archetypes takes the name from outside the subquery, where it is NULL.
WITH compared AS MATERIALIZED (
    WITH w AS (SELECT %(window)s::text AS window_id, %(version)s::int AS reward_version)
    {{scored_trajectories.whole}}
), scored AS (
    SELECT one.agent_id, avg(one.reward) AS reward, count(*) AS rows, min(one.type) AS archetype
    FROM (VALUES (NULL::text)) AS absent (archetype)
    CROSS JOIN LATERAL (
        SELECT s.agent_id, s.reward, archetype::text AS type
        FROM compared
        JOIN training.scores s USING (window_id, reward_version)
        LEFT JOIN trajectories t ON t."trajectoryId" = s.trajectory_id
    ) AS one
    GROUP BY one.agent_id
), rejected AS (
    SELECT t."agentId" AS agent_id, count(DISTINCT r.trajectory_id) AS rows
    FROM compared
    JOIN training.rejections r USING (window_id, reward_version)
    JOIN trajectories t ON t."trajectoryId" = r.trajectory_id
    WHERE r.stage IN ('decode', 'score')  -- a flag says nothing of the answers
      AND r.reason NOT IN ('evaluation_row', 'not_training_data', 'already_used')
    GROUP BY t."agentId"
), before AS MATERIALIZED (
    WITH w AS (SELECT window_id, reward_version FROM training.windows
               WHERE window_id >= %(since)s AND window_id < %(window)s)
    {{scored_trajectories.whole}}
), past AS (
    SELECT s.agent_id, avg(s.reward) AS past
    FROM before JOIN training.scores s USING (window_id, reward_version)
    GROUP BY s.agent_id
), called AS (
    SELECT agent AS agent_id, count(*) AS calls,
           count(*) FILTER (WHERE arm = 'serving' AND step IS NOT NULL) AS by_serving,
           count(*) FILTER (WHERE arm = 'control'
                              AND (step = %(control_step)s::int
                                   OR step IS NULL AND model = %(control_model)s::text)) AS by_control,
           count(*) FILTER (WHERE arm = 'examinee' AND step = %(examinee_step)s::int) AS by_examinee
    FROM training.calls
    WHERE window_id = %(window)s AND lineage = %(lineage)s AND agent IS NOT NULL
      AND asked_at >= %(starts_at)s AND asked_at < %(starts_at)s + interval '1 hour'
    GROUP BY agent
), elsewhere AS (  -- who asks another lineage is in none of this one's arms
    SELECT agent AS agent_id FROM training.calls
    WHERE window_id = %(window)s AND lineage <> %(lineage)s AND agent IS NOT NULL
      AND asked_at >= %(starts_at)s AND asked_at < %(starts_at)s + interval '1 hour'
    EXCEPT SELECT agent_id FROM called
)
SELECT agent_id AS agent, scored.archetype, scored.reward, past.past,
       coalesce(scored.rows, 0)::float8
           / nullif(coalesce(scored.rows, 0) + coalesce(rejected.rows, 0), 0) AS valid,
       coalesce(calls, 0) AS calls, coalesce(by_serving, 0) AS by_serving,
       coalesce(by_control, 0) AS by_control, coalesce(by_examinee, 0) AS by_examinee
FROM scored FULL JOIN rejected USING (agent_id) FULL JOIN called USING (agent_id)
LEFT JOIN past USING (agent_id)
WHERE agent_id NOT IN (SELECT agent_id FROM elsewhere)
ORDER BY agent_id

-- name: answers
-- The captured answers to each arm in a window: how many, those of other servers, and how long the
-- checkpoints took.
SELECT arm, count(*) AS calls, count(*) FILTER (WHERE step IS NULL) AS elsewhere,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE step IS NOT NULL)
           AS latency_ms
FROM training.calls
WHERE window_id = %(window)s AND lineage = %(lineage)s AND arm IS NOT NULL
  AND asked_at >= %(starts_at)s AND asked_at < %(starts_at)s + interval '1 hour'
GROUP BY arm

-- name: add
-- A window's figures and what followed.
INSERT INTO training.comparison_windows (comparison_id, window_id, reward_version, conclusion,
                                         observation, state, evidence, compared_at)
VALUES (%(id)s, %(window)s, %(version)s, %(conclusion)s, %(observation)s, %(state)s, %(evidence)s,
        %(moment)s)

-- name: windows
-- A comparison's windows in their order.
{{comparisons.window}}
WHERE comparison_id = %(id)s ORDER BY window_id

-- name: recorded
-- A comparison's windows in their order, with their evidence alone.
SELECT window_id AS window, conclusion, evidence::text AS evidence
FROM training.comparison_windows
WHERE comparison_id = %(id)s ORDER BY window_id

-- name: windows_after
-- The windows that were compared after one of them, up to another.
SELECT window_id FROM training.comparison_windows
WHERE comparison_id = %(id)s AND window_id > %(after)s AND window_id <= %(to)s
  AND conclusion NOT IN ('late', 'pause_comparison')
ORDER BY window_id

-- name: last
-- The last window that was compared.
{{comparisons.window}}
WHERE comparison_id = %(id)s AND conclusion <> 'late'
ORDER BY window_id DESC LIMIT 1

-- name: decided_before
-- The last window that was compared before a moment.
SELECT max(window_id) FROM training.comparison_windows
WHERE comparison_id = %(id)s AND conclusion <> 'late' AND compared_at <= %(moment)s

-- name: counts
-- How many of a comparison's windows led to what.
SELECT conclusion, count(*) FROM training.comparison_windows
WHERE comparison_id = %(id)s GROUP BY conclusion ORDER BY conclusion

-- name: done
-- What was done after the windows of a comparison that led to something, in words.
SELECT w.window_id, e.detail ->> 'done'
FROM training.comparison_windows w
JOIN training.events e
  ON e.window_id = w.window_id AND e.kind = 'concluded' AND e.lineage = %(lineage)s
     AND (e.detail ->> 'comparison')::bigint = w.comparison_id
WHERE w.comparison_id = %(id)s AND w.conclusion NOT IN ('keep', 'late')
ORDER BY w.window_id

-- name: asking
-- The newest window with rewards: its agents, and what was asked in it.
WITH hour AS (
    SELECT window_id, starts_at, reward_version FROM training.windows
    WHERE scored > 0 OR state IN ('scored', 'trained', 'held_out')
    ORDER BY window_id DESC LIMIT 1
), asked AS (
    SELECT c.agent, c.lineage = %(lineage)s AS ours, count(*) AS calls,
           count(*) FILTER (WHERE c.step IS NOT NULL OR c.arm IS NOT NULL) AS for_lineage
    FROM hour h
    JOIN training.calls c
      ON c.window_id = h.window_id
         AND c.asked_at >= h.starts_at AND c.asked_at < h.starts_at + interval '1 hour'
    GROUP BY c.agent, ours
), called AS (
    SELECT agent, calls, for_lineage FROM asked WHERE ours
), elsewhere AS (  -- who asks another lineage is in none of this one's arms
    SELECT agent FROM asked WHERE NOT ours AND agent IS NOT NULL EXCEPT SELECT agent FROM called
), rewarded AS (
    SELECT DISTINCT s.agent_id FROM training.scores s
    JOIN hour h ON h.window_id = s.window_id AND h.reward_version = s.reward_version
    WHERE s.agent_id NOT IN (SELECT agent FROM elsewhere)
)
SELECT (SELECT window_id FROM hour) AS window,
       (SELECT count(*) FROM rewarded) AS rewarded,
       (SELECT count(*) FROM rewarded r JOIN called c ON c.agent = r.agent_id
        WHERE c.for_lineage > 0) AS asking,
       coalesce(sum(calls), 0)::bigint AS calls,
       coalesce(sum(for_lineage) FILTER (WHERE agent IS NULL), 0)::bigint AS unnamed,
       coalesce(sum(calls - for_lineage), 0)::bigint AS elsewhere
FROM called

-- name: trials
-- The newest differences of examinees from the anchor, trial by trial, in the order of hours.
SELECT array_agg(difference ORDER BY window_id)
FROM (
    SELECT w.comparison_id, w.window_id, w.observation ->> 'examinee' AS examinee,
           (w.evidence #>> '{reward,measured,examinee}')::float8 AS difference
    FROM training.comparisons c
    JOIN training.comparison_windows w ON w.comparison_id = c.id
    WHERE c.lineage = %(lineage)s AND w.conclusion <> 'late'
    ORDER BY w.comparison_id DESC, w.window_id DESC LIMIT %(limit)s
) AS newest
WHERE difference IS NOT NULL
GROUP BY comparison_id, examinee
ORDER BY comparison_id, min(window_id)

-- name: has_proven
-- Whether a comparison of a lineage has ever proven a checkpoint.
SELECT EXISTS (
    SELECT FROM training.comparison_windows w
    JOIN training.comparisons c ON c.id = w.comparison_id
    WHERE c.lineage = %(lineage)s AND w.conclusion IN ('proven', 'proven_gain'))
