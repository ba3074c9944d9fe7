-- name: lock_window
-- A window's state, locked until the claim is decided, and the reward version to be made.
SELECT state, reason, attempt AS attempts,
       reward_version + (scored_at IS NOT NULL)::int AS reward_version, held_out,
       trajectories AS expected, coalesce(lease_until < now(), true) AS expired
FROM training.windows
WHERE window_id = %(window)s
FOR UPDATE

-- name: claim
-- Take a locked window for scoring: one more attempt, and a lease.
UPDATE training.windows
SET state = %(target)s, reason = NULL, attempt = attempt + 1, lease_owner = %(owner)s,
    lease_until = now() + make_interval(secs => %(lease)s), next_attempt_at = NULL,
    updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
RETURNING attempt AS attempts

-- name: renew
-- Renew the lease of a claim that is still ours.
UPDATE training.windows
SET lease_until = now() + make_interval(secs => %(lease)s), updated_at = now()
WHERE window_id = %(window)s AND state = 'scoring'
  AND attempt = %(attempts)s AND lease_owner = %(owner)s

-- name: finish
-- End a claim that is still ours with its result.
UPDATE training.windows
SET state = %(target)s, reason = %(reason)s, reward_version = %(reward_version)s,
    trajectories = %(trajectories)s, agents = %(agents)s, scored = %(scored)s,
    rejected = %(rejected)s, reward_mean = %(reward_mean)s, reward_std = %(reward_std)s, profit_mean = %(profit_mean)s, right_share = %(right_share)s,
    waits_until = CASE WHEN %(waits)s THEN starts_at + interval '1 hour'
                                           + make_interval(secs => %(wait_seconds)s) END,
    left_over = CASE WHEN %(target)s = 'scored' THEN left_over ELSE 0 END,
    lease_owner = NULL, lease_until = NULL, next_attempt_at = NULL,
    scored_at = now(), updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
  AND attempt = %(attempts)s AND lease_owner = %(owner)s
RETURNING window_id AS window

-- name: give_back
-- Release a claim that is still ours, to be tried again later, or never.
UPDATE training.windows
SET state = %(target)s, reason = %(reason)s, lease_owner = NULL, lease_until = NULL,
    attempt = attempt - 1 + %(counted)s,
    next_attempt_at = now() + make_interval(secs => %(delay)s), updated_at = now()
WHERE window_id = %(window)s AND state = ANY (%(sources)s)
  AND attempt = %(attempts)s AND lease_owner = %(owner)s
RETURNING window_id AS window

-- name: copy_scores
-- Copy in the scores of one run.
COPY training.scores ({columns}) FROM STDIN

-- name: copy_rejections
-- Copy in the rejections of one run.
COPY training.rejections ({columns}) FROM STDIN

-- name: forget_bets
-- Delete the markets that the last scoring found in the window's bets.
DELETE FROM training.bets WHERE window_id = %(window)s

-- name: insert_bet
-- Insert a market that the window's bets name, and its outcome.
INSERT INTO training.bets (window_id, kind, name, yes, change)
VALUES (%(window)s, %(kind)s, %(name)s, %(yes)s, %(change)s)

-- name: wait_is_over
-- Whether an hour that ended this long ago no longer waits for outcomes.
SELECT starts_at + interval '1 hour' + make_interval(secs => %(wait_seconds)s) <= now()
FROM training.windows WHERE window_id = %(window)s

-- name: consumed
-- What the steps of every live lineage have used of a window: it keeps the reward that it was used
-- with, and a new one says only how it compares. What another lineage may still use is not used.
SELECT DISTINCT c.trajectory_id FROM training.consumption c
WHERE c.window_id = %(window)s AND c.dead_at IS NULL
  AND NOT EXISTS (SELECT FROM training.lineages l
                  WHERE {{lineage_windows.live}}
                    AND NOT EXISTS (SELECT FROM training.consumption o
                                    WHERE o.lineage = l.name
                                      AND o.trajectory_id = c.trajectory_id
                                      AND o.dead_at IS NULL))

-- name: grades
-- The judge's last grade of each trajectory of a window, and the hash of the row graded.
SELECT DISTINCT ON (trajectory_id) trajectory_id, content_hash, scorer_version AS version, reward
FROM training.scores
WHERE window_id = %(window)s AND scorer = 'ruler'
ORDER BY trajectory_id, reward_version DESC
