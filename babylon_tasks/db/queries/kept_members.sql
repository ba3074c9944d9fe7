-- name: keep
-- Keep members of a step.
INSERT INTO training.step_members (step_id, content, member)
SELECT %(step_id)s, one.content, one.member
FROM unnest(%(contents)b::bytea[], %(members)b::bytea[]) AS one (content, member)

-- name: keep_bets
-- Keep the bets of a step's windows, and the outcomes that its rewards were made from.
INSERT INTO training.step_bets (step_id, window_id, kind, name, yes, change)
SELECT s.id, b.window_id, b.kind, b.name, b.yes, b.change
FROM training.steps s JOIN training.bets b ON b.window_id = ANY (s.windows)
WHERE s.id = %(step_id)s

-- name: note_kept
-- Note that all of a step is kept.
UPDATE training.steps SET members_kept_at = now() WHERE id = %(step_id)s

-- name: delete
-- Delete the members of a step.
DELETE FROM training.step_members WHERE step_id = %(step_id)s

-- name: delete_bets
-- Delete its bets.
DELETE FROM training.step_bets WHERE step_id = %(step_id)s

-- name: note_pruned
-- Note that nothing is kept of it any more.
UPDATE training.steps SET members_pruned_at = now()
WHERE id = %(step_id)s AND members_kept_at IS NOT NULL AND members_pruned_at IS NULL

-- name: old
-- Steps whose members are older than what is kept, the oldest first. A failed step, whose members
-- go with it, is among them where a worker of an earlier release has failed it.
SELECT s.id FROM training.steps s
WHERE s.members_kept_at IS NOT NULL AND s.members_pruned_at IS NULL
  AND (s.state = 'failed' OR s.committed_at < now() - make_interval(secs => %(kept)s))
ORDER BY s.id
LIMIT %(limit)s

-- name: about
-- What is known of a committed step beside its row.
SELECT s.backend, s.members_kept_at AS kept_at, s.members_pruned_at AS pruned_at, c.content_hash
FROM training.steps s JOIN training.checkpoints c ON c.lineage = s.lineage AND c.step = s.target_step
WHERE s.id = %(step_id)s

-- name: of_step
-- The members that are kept of a step.
SELECT content, member FROM training.step_members WHERE step_id = %(step_id)s

-- name: changed_outcomes
-- Bets of a step's windows that have another outcome than when it was planned. A price counts by
-- where it went, as in training.bets_now.
SELECT b.window_id AS window, b.kind, b.name, b.yes, b.change,
       market.yes AS yes_now, stock.change AS change_now
FROM training.step_bets b
JOIN training.windows w ON w.window_id = b.window_id AND w.rows_pruned_at IS NULL
LEFT JOIN LATERAL (
    SELECT o.yes FROM training.outcomes o
    WHERE b.kind = 'market' AND o.kind = 'market' AND o.name = b.name
      AND o.window_id >= b.window_id
    ORDER BY o.window_id DESC LIMIT 1) market ON true
LEFT JOIN LATERAL (
    SELECT o.change FROM training.outcomes o
    WHERE o.kind = 'stock' AND o.name = b.name AND o.window_id >= b.window_id
    ORDER BY o.window_id LIMIT 1) stock ON true
WHERE b.step_id = %(step_id)s
  AND (b.yes IS DISTINCT FROM market.yes OR sign(b.change) IS DISTINCT FROM sign(stock.change))
ORDER BY b.window_id, b.kind, b.name
