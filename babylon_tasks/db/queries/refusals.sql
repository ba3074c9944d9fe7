-- part: against
-- Decisions (p) against a checkpoint, on evidence: not those that only lack it. Figures say so, but
-- for older ones, of which a rollback and a screen's hold are refusals.
(p.decision IN ('hold', 'rollback') AND CASE WHEN p.evidence ? 'refused' THEN p.evidence ->> 'refused' <> 'false'
                                  ELSE p.decision = 'rollback' OR p.evidence ? 'screen' END)

-- part: kind
-- The kind of the reason of a decision (p) against a checkpoint. Older ones do not say: an
-- evaluation on held-out groups has their hash.
CASE WHEN p.evidence ->> 'refused' <> 'true' THEN p.evidence ->> 'refused'
     WHEN p.evidence ? 'set_hash' THEN 'no_better' ELSE 'harm' END

-- name: refused
-- The checkpoints that were refused or rolled back.
SELECT DISTINCT CASE p.decision WHEN 'rollback' THEN p.from_step ELSE p.to_step END
FROM training.promotions p WHERE p.lineage = %(lineage)s AND {{refusals.against}}

-- name: in_favour
-- The same, for one of these kinds of reasons, each with what went on serving, or serves again, instead.
SELECT DISTINCT CASE p.decision WHEN 'rollback' THEN p.from_step ELSE p.to_step END AS step,
       CASE p.decision WHEN 'rollback' THEN p.to_step ELSE p.from_step END AS instead
FROM training.promotions p WHERE p.lineage = %(lineage)s AND {{refusals.against}}
  AND {{refusals.kind}} = ANY (%(kinds)s)

-- name: evaluated_in_a_row
-- When each of the checkpoints was first refused that evaluations have refused since the pointer
-- has moved last.
SELECT min(p.decided_at) AS refused_at
FROM training.promotions p
WHERE p.lineage = %(lineage)s AND p.decision = 'hold' AND p.evidence ? 'set_hash'
  AND {{refusals.against}}
  AND p.id > (SELECT coalesce(max(m.id), 0) FROM training.promotions m
              WHERE m.lineage = %(lineage)s AND m.decision <> 'hold')
GROUP BY p.to_step ORDER BY refused_at

-- name: news
-- What is new since the last refusal of a checkpoint in favour of what serves: trajectories that no
-- dead branch has used, in windows that a step may take, and held-out windows.
SELECT EXISTS (
           SELECT FROM training.windows w
           {{lineage_windows.mine}}
           JOIN training.scores s
             ON s.window_id = w.window_id AND s.reward_version = w.reward_version
           WHERE {{windows.ready_to_train}} AND {{scored_trajectories.unused}}
             AND NOT EXISTS (SELECT FROM training.consumption d
                             WHERE d.lineage = %(lineage)s AND d.trajectory_id = s.trajectory_id
                               AND d.dead_at IS NOT NULL)) AS windows,
       EXISTS (
           SELECT FROM training.windows h
           WHERE h.state = 'held_out' AND h.scored_at > (
               SELECT max(p.decided_at) FROM training.promotions p
               JOIN training.lineages l ON l.name = p.lineage
               WHERE p.lineage = %(lineage)s AND l.serving_step IN (p.from_step, p.to_step)
                 AND {{refusals.against}})) AS held_out
