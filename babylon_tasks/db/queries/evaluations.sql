-- part: held_out
-- An evaluation (v) on held-out windows alone. Looking back evaluates on others, too: its values are
-- compared with each other, and say nothing of a checkpoint beside those.
NOT EXISTS (SELECT FROM training.windows w WHERE w.window_id = ANY (v.windows) AND NOT w.held_out)

-- name: of_set
-- Values of checkpoints on one set.
SELECT step, coverage,
       ARRAY(SELECT (g ->> 'value')::float8 FROM jsonb_array_elements(group_values)
             WITH ORDINALITY AS e (g, place) ORDER BY place) AS values,
       ARRAY(SELECT (g ->> 'entropy')::float8 FROM jsonb_array_elements(group_values)
             WITH ORDINALITY AS e (g, place) ORDER BY place) AS entropy,
       coalesce(jsonb_path_query_array(group_values, 'strict $[*].says', silent => true), '[]')
           AS says
FROM training.evaluations
WHERE lineage = %(lineage)s AND set_hash = %(set_hash)s

-- name: store
-- Store a checkpoint's value on a set; the first write wins.
INSERT INTO training.evaluations (lineage, step, set_hash, windows, groups, value, coverage,
                                  entropy, group_values)
VALUES (%(lineage)s, %(step)s, %(set_hash)s, %(windows)s, %(groups)s, %(value)s, %(coverage)s,
        %(entropy)s, %(group_values)s)
ON CONFLICT (lineage, step, set_hash) DO NOTHING
