-- name: score
-- The newest reward of a trajectory: in the last window that has scored it.
SELECT window_id AS window, reward_version, reward, group_key, components,
       scorer || ' ' || scorer_version AS scorer
FROM training.scores WHERE trajectory_id = %(trajectory)s
ORDER BY window_id DESC, reward_version DESC
LIMIT 1

-- name: comparable_rewards
-- What the comparable trajectories of a window got, the best first.
SELECT reward FROM training.scores
WHERE window_id = %(window)s AND group_key = %(group_key)s AND reward_version = %(version)s
ORDER BY reward DESC

-- part: stands
-- Whether a score (s) of a window (w) is of its newest version, or of an earlier one with which a
-- step has used it: a row that was deleted or damaged before its hour was scored anew has neither.
-- The windows are %(windows)s, so that those uses are read once.
(s.reward_version = w.reward_version
 OR (s.window_id, s.trajectory_id, s.reward_version)
    IN (SELECT c.window_id, c.trajectory_id, c.reward_version FROM training.consumption c
        WHERE c.window_id = ANY (%(windows)s)))

-- name: extremes
-- The best and the worst of the newest rewards of some windows' trajectories; none is both.
SELECT trajectory_id, from_best <= %(best)s AS best
FROM (SELECT trajectory_id,
             row_number() OVER (ORDER BY reward DESC, window_id DESC, trajectory_id) AS from_best,
             row_number() OVER (ORDER BY reward, window_id DESC, trajectory_id) AS from_worst
      FROM (SELECT DISTINCT ON (s.trajectory_id) s.trajectory_id, s.window_id, s.reward
            FROM training.windows w
            JOIN training.scores s USING (window_id)
            WHERE w.window_id = ANY (%(windows)s) AND {{closeups.stands}}
            ORDER BY s.trajectory_id, s.window_id DESC, s.reward_version DESC) AS newest) AS placed
WHERE from_best <= %(best)s OR from_worst <= %(worst)s
ORDER BY from_best <= %(best)s DESC, CASE WHEN from_best <= %(best)s THEN from_best ELSE from_worst END

-- name: captured
-- Which checkpoint, or whose model, gave the answers of a trajectory that were captured in this time,
-- by place.
SELECT place, lineage, step, model FROM training.calls
WHERE trajectory_id = %(trajectory)s AND asked_at >= %(since)s AND asked_at < %(until)s

-- name: comparable
-- The trajectories of one window by what they were asked, with their newest rewards, the best first.
SELECT window_id AS window, group_key AS key, array_agg(trajectory_id ORDER BY reward DESC, trajectory_id) AS members,
       array_agg(reward ORDER BY reward DESC, trajectory_id) AS rewards
FROM (SELECT DISTINCT ON (s.trajectory_id) s.trajectory_id, s.window_id, s.group_key, s.reward
      FROM training.windows w
      JOIN training.scores s USING (window_id)
      WHERE w.window_id = ANY (%(windows)s) AND {{closeups.stands}}
      ORDER BY s.trajectory_id, s.reward_version DESC) AS newest
GROUP BY window_id, group_key ORDER BY group_key LIMIT %(limit)s
