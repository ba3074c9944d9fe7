-- part: row
-- A screen.
SELECT id, step, serving_step, against, set_hash, questions, actor, began_at, result, reason,
       figures, ended_at
FROM training.screens

-- name: windows
-- The newest held-out windows that do not wait for outcomes, and their reward versions.
SELECT window_id, reward_version FROM training.windows
WHERE state = 'held_out' AND coalesce(waits_until <= now(), true)
ORDER BY starts_at DESC LIMIT %(windows)s

-- name: listed
-- Some of a window's scored trajectories, without text, in an order that has to do with nothing.
{{scored_trajectories.listed}}
ORDER BY md5(s.trajectory_id) LIMIT %(limit)s

-- name: markets_trained_on
-- Markets of a window's bets that the lineage has learned from in other windows. A stock is another
-- question in each hour.
SELECT b.name FROM training.bets b
WHERE b.window_id = %(window)s AND b.kind = 'market' AND EXISTS (
    SELECT FROM training.bets t
    JOIN training.steps s ON s.windows @> ARRAY[t.window_id::text]
    WHERE t.kind = 'market' AND t.name = b.name AND t.window_id <> b.window_id
      AND s.lineage = %(lineage)s AND s.state = 'committed')

-- name: begin
-- Begin a screen, unless one of the same questions is open.
INSERT INTO training.screens (lineage, step, serving_step, against, set_hash, questions, terms,
                              actor)
VALUES (%(lineage)s, %(step)s, %(serving_step)s, %(against)s, %(set_hash)s, %(questions)s,
        %(terms)s, %(actor)s)
ON CONFLICT (lineage, step, serving_step, against, set_hash) WHERE ended_at IS NULL DO NOTHING

-- name: open
-- The open screen of these questions.
{{screens.row}}
WHERE lineage = %(lineage)s AND step = %(step)s AND serving_step = %(serving_step)s
  AND against = %(against)s AND set_hash = %(set_hash)s AND ended_at IS NULL

-- name: ended
-- The newest screen of these questions that has ended and says what one of these terms would: one
-- that has decided nothing does by its own terms alone; how many answers must be valid counts for
-- those that are compared with another model's.
{{screens.row}}
WHERE lineage = %(lineage)s AND step = %(step)s AND serving_step = %(serving_step)s
  AND against = %(against)s AND set_hash = %(set_hash)s AND ended_at IS NOT NULL
  AND (terms = %(terms)s
       OR (result <> 'too_few'
           AND (against = 'serving' OR terms -> 'min_valid' = %(terms)s -> 'min_valid')))
ORDER BY id DESC LIMIT 1

-- name: of_step
-- The screens of a checkpoint, newest first.
{{screens.row}}
WHERE lineage = %(lineage)s AND step = %(step)s
ORDER BY id DESC LIMIT %(limit)s

-- name: get
-- One screen.
{{screens.row}}
WHERE id = %(id)s

-- name: end
-- End a screen; once.
UPDATE training.screens
SET result = %(result)s, reason = %(reason)s, figures = %(figures)s, ended_at = now()
WHERE id = %(id)s AND ended_at IS NULL

-- name: add_sample
-- Add an answer; the first one counts.
INSERT INTO training.screen_samples (screen_id, place, candidate, window_id, trajectory_id,
    call_number, prompt_hash, answer, answer_hash, decides, valid, rightness, length, repeats,
    tokens, finish_reason, prompt_tokens)
VALUES (%(screen_id)s, %(place)s, %(candidate)s, %(window_id)s, %(trajectory_id)s,
    %(call_number)s, %(prompt_hash)s, %(answer)s, %(answer_hash)s, %(decides)s, %(valid)s,
    %(rightness)s, %(length)s, %(repeats)s, %(tokens)s, %(finish_reason)s, %(prompt_tokens)s)
ON CONFLICT DO NOTHING

-- name: samples
-- What is known of a screen's answers.
SELECT place, candidate, decides, valid, rightness, length, repeats
FROM training.screen_samples WHERE screen_id = %(screen_id)s
ORDER BY place, candidate

-- name: prune
-- Delete the answers of screens that began long ago; their figures stay.
DELETE FROM training.screen_samples
WHERE screen_id IN (SELECT id FROM training.screens
                    WHERE began_at < now() - make_interval(secs => %(kept)s)
                      AND EXISTS (SELECT FROM training.screen_samples s WHERE s.screen_id = id)
                    ORDER BY id LIMIT %(limit)s)

-- name: refused
-- Whether the newest screen of a checkpoint that decided anything refused it.
SELECT coalesce((SELECT result = 'refused' FROM training.screens
                 WHERE lineage = %(lineage)s AND step = %(step)s AND result IN ('passed', 'refused')
                 ORDER BY id DESC LIMIT 1), false)

-- name: passed
-- The living checkpoints that passed their newest screen, the newest first.
SELECT c.step FROM training.checkpoints c
WHERE c.lineage = %(lineage)s AND c.dead_at IS NULL AND c.pruned_at IS NULL
  AND (SELECT s.result FROM training.screens s
       WHERE s.lineage = c.lineage AND s.step = c.step AND s.result IN ('passed', 'refused')
       ORDER BY s.id DESC LIMIT 1) = 'passed'
ORDER BY c.step DESC
