-- part: against
-- Decisions (p) against a checkpoint, on evidence: not those that only lack it. Figures may say so;
-- else a rollback and a screen's hold are refusals.
(p.decision <> 'promote'
 AND coalesce((p.evidence ->> 'refused')::boolean, p.decision = 'rollback' OR p.evidence ? 'screen'))

-- name: refused
-- The checkpoints that were refused or rolled back; with or without those of which an evaluation
-- on held-out groups says that they are no better.
SELECT DISTINCT CASE p.decision WHEN 'rollback' THEN p.from_step ELSE p.to_step END
FROM training.promotions p WHERE p.lineage = %(lineage)s AND {{refusals.against}}
  AND (%(evaluated)s OR NOT p.evidence ? 'set_hash')

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
