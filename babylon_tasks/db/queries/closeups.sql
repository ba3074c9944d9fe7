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

-- name: extremes
-- The best and the worst rewards of a window's reward version; no trajectory is both.
SELECT trajectory_id, place <= %(best)s AS best
FROM (SELECT trajectory_id, row_number() OVER (ORDER BY reward DESC, trajectory_id) AS place,
             count(*) OVER () AS number
      FROM training.scores
      WHERE window_id = %(window)s AND reward_version = %(version)s) AS ranked
WHERE place <= %(best)s OR place > greatest(number - %(worst)s, %(best)s)
ORDER BY place
