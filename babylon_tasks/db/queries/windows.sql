-- part: columns
-- A row as a lineage sees it, with whether it waits for outcomes and may be worked on.
window_id, state, held_out, reason, trajectories, agents, scored, rejected, reward_mean,
reward_std, reward_version, attempt AS attempts, training_tries AS training_attempts,
next_attempt_at, enqueued_at, opened_at, sealed_at, scored_at, trained_at, updated_at,
waits_until, rescore AS score_anew, changes, left_over, profit_mean, right_share,
state IN ('scored', 'held_out') AND coalesce(waits_until > now(), false) AS waiting,
state = 'scored' AND tripped AS tripped,
coalesce(next_attempt_at <= now(), true) AND coalesce(waits_until <= now(), true)
    AND rescore IS NULL AND (state <> 'scored' OR reason IS NULL AND NOT tripped) AS due

-- part: seen
-- Windows (w) as a lineage sees them; as all lineages together do if it is NULL.
(SELECT w.window_id, w.starts_at, {{lineage_windows.state}} AS state, w.held_out,
        CASE WHEN coalesce(mine.state, 'scored') <> 'scored' THEN mine.reason ELSE w.reason END
            AS reason,
        w.trajectories, w.agents, w.scored, w.rejected, w.reward_mean, w.reward_std,
        w.reward_version, w.attempt, {{lineage_windows.training_tries}} AS training_tries,
        CASE WHEN w.state IN ('scored', 'training')
             THEN {{lineage_windows.next_attempt_at}} ELSE w.next_attempt_at END AS next_attempt_at,
        w.enqueued_at, w.opened_at, w.sealed_at, w.scored_at,
        coalesce(mine.trained_at, w.trained_at) AS trained_at, w.updated_at,
        mine.updated_at AS settled_at, w.waits_until,
        w.rescore, w.changes, {{lineage_windows.left_over}} AS left_over, w.profit_mean,
        w.right_share, {{tripwires.tripped}} AS tripped
 FROM training.windows w
 {{lineage_windows.mine}}) AS w

-- part: backlog
-- Windows that are over, that the lineage has not used, that do not wait for outcomes and that no
-- tripwire keeps from training.
({{lineage_windows.state}} IN ('sealed', 'scoring', 'training')
 OR {{lineage_windows.state}} = 'scored' AND coalesce(w.waits_until <= now(), true)
    AND {{lineage_windows.left_over}} = 0 AND NOT {{tripwires.tripped}})

-- part: ready_to_train
-- Windows that a step of the lineage may take now.
{{lineage_windows.takeable}} AND coalesce({{lineage_windows.next_attempt_at}} <= now(), true)
AND coalesce(w.waits_until <= now(), true) AND w.rescore IS NULL AND w.reason IS NULL
AND NOT {{tripwires.tripped}}

-- name: get
-- One window.
SELECT {{windows.columns}}
FROM {{windows.seen}} WHERE window_id = %(window)s

-- part: asked_for
-- Windows that begin in a span and are in some states.
(%(since)s::timestamptz IS NULL OR starts_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR starts_at < %(until)s)
AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
AND coalesce(agents, 0) >= %(min_agents)s

-- name: list
-- Windows of a span, newest first.
SELECT {{windows.columns}}
FROM {{windows.seen}}
WHERE {{windows.asked_for}}
ORDER BY starts_at DESC
LIMIT %(limit)s

-- name: how_many
-- How many windows of a span there are.
SELECT count(*)
FROM {{windows.seen}}
WHERE {{windows.asked_for}}

-- name: counts
-- How many windows are in each state, as a lineage sees them.
SELECT {{lineage_windows.state}} AS state, count(*)
FROM training.windows w
{{lineage_windows.mine}}
GROUP BY 1

-- name: earned
-- What the newest windows earned that were opened since an earlier checkpoint serves again. Where an
-- earlier release scored a window anew that is the mean of what steps had not used: of these, too,
-- there are enough.
SELECT newest.* FROM (
    SELECT window_id AS window, profit_mean AS profit FROM training.windows w
    WHERE profit_mean IS NOT NULL AND scored >= %(least)s AND coalesce(waits_until <= now(), true)
      AND (w.reward_version = 1 OR w.rows_pruned_at IS NOT NULL
           OR (SELECT count(*) FROM training.scores s
               WHERE s.window_id = w.window_id AND s.reward_version = w.reward_version)
              >= %(least)s)
      AND opened_at > (SELECT coalesce(max(decided_at), '-infinity') FROM training.promotions
                       WHERE lineage = %(lineage)s AND decision = 'rollback')
    ORDER BY window_id DESC LIMIT %(newest)s) AS newest
ORDER BY newest.window
