-- part: open
-- Tripwires (t) that keep a window from training.
t.policy = 'hold'
AND NOT EXISTS (SELECT FROM training.accepted_tripwires a WHERE a.tripwire_id = t.id)

-- part: tripped
-- Whether one keeps a window (w) from the lineage's steps. It is of the window's newest rewards.
EXISTS (SELECT FROM training.tripwires t
        WHERE t.window_id = w.window_id AND t.lineage = %(lineage)s
          AND t.reward_version = w.reward_version AND {{tripwires.open}})

-- part: trainable
-- Windows (w) that a step may still take: a supervised one takes skipped windows too.
(w.state IN ('scored', 'training') OR w.state = 'skipped' AND w.reason IS DISTINCT FROM 'stale')

-- part: columns
-- A tripwire (t) with its acceptance (a), and whether it keeps its window (w) from training.
t.id, t.lineage, t.window_id AS window, t.reward_version, s.target_step AS step, t.target_step,
t.kind, t.policy, t.what, t.measured, t.bound, t.source, t.evidence, t.actor, t.found_at,
a.actor AS accepted_by, a.accepted_at,
t.policy = 'hold' AND a.tripwire_id IS NULL AND t.reward_version = w.reward_version
    AND {{tripwires.trainable}} AS open

-- part: listed
-- Tripwires with what became of them.
FROM training.tripwires t
LEFT JOIN training.accepted_tripwires a ON a.tripwire_id = t.id
LEFT JOIN training.steps s ON s.id = t.step_id
LEFT JOIN training.windows w ON w.window_id = t.window_id

-- name: add
-- Put on record that a wire has tripped.
INSERT INTO training.tripwires (lineage, window_id, reward_version, step_id, target_step, kind,
                                policy, what, measured, bound, source, evidence, actor)
VALUES (%(lineage)s, %(window)s, %(version)s, %(step_id)s, %(target_step)s, %(kind)s, %(policy)s,
        %(what)s, %(measured)s, %(bound)s, %(source)s, %(evidence)s, %(actor)s)

-- name: accepted_kinds
-- The wires of a window that somebody has accepted, for its newest rewards.
SELECT DISTINCT t.kind FROM training.tripwires t
JOIN training.accepted_tripwires a ON a.tripwire_id = t.id
WHERE t.lineage = %(lineage)s AND t.window_id = %(window)s AND t.reward_version = %(version)s

-- name: accept
-- Let a window through; returns the wires that kept it.
WITH accepted AS (
    INSERT INTO training.accepted_tripwires (tripwire_id, actor)
    SELECT t.id, %(actor)s FROM training.tripwires t
    JOIN training.windows w ON w.window_id = t.window_id
    WHERE t.lineage = %(lineage)s AND t.window_id = %(window)s
      AND t.reward_version = w.reward_version AND {{tripwires.open}}
    ON CONFLICT DO NOTHING
    RETURNING tripwire_id
)
SELECT t.kind FROM training.tripwires t JOIN accepted ON accepted.tripwire_id = t.id ORDER BY t.kind

-- part: asked_for
-- A lineage's, of windows from an hour on.
t.lineage = %(lineage)s AND (%(since)s::timestamptz IS NULL OR w.starts_at >= %(since)s)

-- part: kept
-- A lineage's that keep windows from training, from an hour on.
{{tripwires.asked_for}} AND {{tripwires.trainable}}
AND t.reward_version = w.reward_version AND {{tripwires.open}}

-- name: list
-- The newest tripwires of a lineage.
SELECT {{tripwires.columns}}
{{tripwires.listed}}
WHERE {{tripwires.asked_for}}
ORDER BY t.id DESC
LIMIT %(limit)s

-- name: how_many
-- How many tripwires a lineage has.
SELECT count(*)
{{tripwires.listed}}
WHERE {{tripwires.asked_for}}

-- name: still_open
-- Those that keep windows of a lineage from training, the oldest window first.
SELECT {{tripwires.columns}}
{{tripwires.listed}}
WHERE {{tripwires.kept}}
ORDER BY w.starts_at, t.id
LIMIT %(limit)s

-- name: how_many_open
-- How many of them keep windows of a lineage from training.
SELECT count(*)
{{tripwires.listed}}
WHERE {{tripwires.kept}}

-- name: of_window
-- All tripwires of a window, as they were found.
SELECT {{tripwires.columns}}
{{tripwires.listed}}
WHERE t.window_id = %(window)s
  AND (%(lineage)s::text IS NULL OR t.lineage = %(lineage)s)
ORDER BY t.id

-- name: counts
-- How often each wire has tripped, by policy.
SELECT kind, policy, count(*) FROM training.tripwires
WHERE lineage = %(lineage)s GROUP BY kind, policy ORDER BY kind, policy

-- name: open_windows
-- How many windows of a lineage tripwires keep from training.
SELECT count(DISTINCT w.window_id) FROM training.windows w
JOIN training.tripwires t ON t.window_id = w.window_id AND t.reward_version = w.reward_version
WHERE {{tripwires.trainable}} AND t.lineage = %(lineage)s AND {{tripwires.open}}

-- name: keep_figures
-- Keep what a step took of a window, in figures.
INSERT INTO training.window_figures (step_id, lineage, window_id, figures)
VALUES (%(step_id)s, %(lineage)s, %(window)s, %(figures)s)

-- name: figures
-- What the newest steps of a lineage took of other windows, the newest first. What a failed step
-- took is on record once more when it is taken again.
SELECT f.figures FROM training.window_figures f
JOIN training.steps s ON s.id = f.step_id
WHERE f.lineage = %(lineage)s AND f.window_id <> %(window)s AND s.state <> 'failed'
ORDER BY f.step_id DESC, f.window_id DESC
LIMIT %(limit)s

-- name: bets
-- The prediction markets and stocks of a window's bets, with the outcomes behind its rewards.
SELECT kind, name, yes, change FROM training.bets WHERE window_id = %(window)s

-- name: delete_figures
-- Forget the figures of a window, but for the newest of each lineage, which are compared with.
DELETE FROM training.window_figures f
WHERE f.window_id = %(window)s
  AND (SELECT count(*) FROM (SELECT FROM training.window_figures n
                             WHERE n.lineage = f.lineage AND n.step_id > f.step_id
                             LIMIT %(kept)s) AS newer) = %(kept)s
