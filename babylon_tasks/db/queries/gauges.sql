-- name: oldest_due
-- Of the windows that no step has used: seconds since the end of the oldest hour, of its wait for
-- outcomes, or since it was sealed for another reward version; NULL where there is none.
SELECT extract(epoch FROM now() - min(greatest(
    w.starts_at + interval '1 hour', w.waits_until,
    CASE WHEN w.reward_version > 1 OR w.scored_at < w.sealed_at THEN w.sealed_at END)))::float8
FROM training.windows w
{{lineage_windows.mine}}
WHERE w.state IN ('sealed', 'scoring', 'scored', 'training') AND {{windows.backlog}}

-- name: left_over
-- Comparable trajectories that no step has taken yet, of hours that a step has used.
SELECT coalesce(sum({{lineage_windows.left_over}}), 0)::int
FROM training.windows w
{{lineage_windows.mine}}
WHERE w.state IN ('scored', 'training')

-- name: rewards
-- The newest window that has rewards: its bets and profits, the spread of its rewards, and when it
-- was scored.
SELECT right_share, profit_mean, reward_std AS spread,
       extract(epoch FROM scored_at)::float8 AS scored_at
FROM training.windows
WHERE reward_std IS NOT NULL AND scored_at IS NOT NULL
ORDER BY windows.scored_at DESC
LIMIT 1

-- name: lineage
-- A lineage's head, its serving checkpoint, seconds since its lease was renewed, whether its files
-- are damaged, and the refusals and rollbacks for harm since its last promotion.
SELECT head_step, serving_step, coalesce(lease_until > clock_timestamp(), false) AS leased,
       CASE WHEN lease_until IS NULL THEN 0
            ELSE greatest(0, %(lease)s - extract(epoch FROM lease_until - clock_timestamp()))
       END::float8 AS lease_age,
       trouble IS NOT NULL AS troubled,
       (SELECT count(*)::int FROM training.promotions p
        WHERE p.lineage = lineages.name AND {{refusals.against}} AND {{refusals.kind}} = 'harm'
          AND p.id > (SELECT coalesce(max(l.id), 0) FROM training.promotions l
                      WHERE l.lineage = lineages.name AND l.decision = 'promote')) AS refusals
FROM training.lineages WHERE name = %(lineage)s

-- name: steps
-- Training steps by state, and when the newest was committed.
SELECT state AS name, count(*), extract(epoch FROM max(committed_at))::float8 AS last_at
FROM training.steps WHERE lineage = %(lineage)s GROUP BY state

-- name: newest_step
-- What was measured in the newest committed step.
SELECT metrics FROM training.steps
WHERE lineage = %(lineage)s AND state = 'committed'
ORDER BY target_step DESC
LIMIT 1

-- name: decisions
-- How often checkpoints were promoted, held and rolled back, and when last.
SELECT decision AS name, count(*), extract(epoch FROM max(decided_at))::float8 AS last_at
FROM training.promotions WHERE lineage = %(lineage)s GROUP BY decision

-- name: evaluation
-- The newest evaluation of a checkpoint on held-out windows. Its commonest answer is that of one kind
-- of question, as the gate has it (registry/near_constant.py): with as many groups as it wants, and
-- where members acted differently in so many of them, of these alone.
SELECT value, coverage, entropy, groups,
       (SELECT max(said.share) FROM (
            SELECT sum(says.value::float8) / counted.groups AS share
            FROM (SELECT kind, answers, count(*) OVER (PARTITION BY kind) AS groups
                  FROM (SELECT k.kind, g -> 'says' AS answers, d.contested,
                               count(*) FILTER (WHERE d.contested) OVER (PARTITION BY k.kind)
                                   AS differ
                        FROM jsonb_array_elements(group_values) AS g,
                             LATERAL (SELECT ARRAY(
                                 SELECT part
                                 FROM unnest(string_to_array(g ->> 'key', '|')) AS part
                                 WHERE part ~ '^(archetype|decision)=') AS kind) AS k,
                             LATERAL (SELECT coalesce((g -> 'contested')::boolean, true)
                                          AS contested) AS d) AS asked
                  WHERE contested OR differ < 8) AS counted,
                 jsonb_each_text(counted.answers) AS says
            WHERE counted.groups >= 8
            GROUP BY counted.kind, counted.groups, says.key) AS said) AS commonest
FROM training.evaluations v
WHERE lineage = %(lineage)s AND step = %(step)s AND {{evaluations.held_out}}
ORDER BY id DESC
LIMIT 1
