-- name: is_there
-- Whether the gateway's table is there; `verify-data` works before the migration too.
SELECT to_regclass('training.calls') IS NOT NULL

-- name: any_captured
-- Whether the gateway captured anything in this time.
SELECT EXISTS (SELECT FROM training.calls WHERE asked_at >= %(since)s AND asked_at < %(until)s)

-- name: samples
-- What was captured in this time with these texts, whether or not it is joined already. An agent may
-- ask at any temperature, of 400 digits too: what no double holds becomes one that nobody samples at.
SELECT c.capture_id, c.asked_at, c.window_id, c.agent, c.lineage, c.step, c.model, c.system_hash,
       c.user_hash, c.answer_hash, c.sample_state = 'complete' AND c.step IS NOT NULL AS exact, c.token_ids, c.logprobs,
       CASE WHEN jsonb_typeof(c.sampling -> 'temperature') = 'number'
            THEN least(greatest((c.sampling -> 'temperature')::numeric, -1), 1e6)::float8 END AS temperature,
       CASE WHEN jsonb_typeof(c.sampling -> 'top_p') = 'number'
            THEN least(greatest((c.sampling -> 'top_p')::numeric, -1), 1e6)::float8 END AS top_p,
       c.sample_state = 'shaped' AND c.sampling -> 'others' ?| ARRAY['tools', 'functions']
           AS with_tools,
       c.sample_state = 'shaped' AS shaped,
       c.finish_reason, c.prompt_tokens, c.completion_tokens, c.trajectory_id, c.place,
       c.agent_source = 'system_prompt' AS from_prompt,
       CASE WHEN jsonb_typeof(c.sampling -> 'prompt_ids') = 'string'
            THEN decode(c.sampling ->> 'prompt_ids', 'base64') END AS prompt_ids
FROM (SELECT DISTINCT * FROM unnest(%(systems)s::bytea[], %(users)s::bytea[], %(answers)s::bytea[])
          AS texts (system_hash, user_hash, answer_hash)) AS wanted
JOIN training.calls c USING (answer_hash, user_hash, system_hash)
WHERE c.asked_at >= %(since)s AND c.asked_at < %(until)s
ORDER BY c.asked_at, c.capture_id

-- name: claim
-- Join captured calls to recorded ones, each once: who comes second gets nothing.
WITH wanted AS (
    SELECT * FROM unnest(%(asked_at)s::timestamptz[], %(capture_id)s::uuid[],
                         %(trajectory_id)s::text[], %(place)s::integer[])
        AS w (asked_at, capture_id, trajectory_id, place)
), mine AS (
    SELECT c.asked_at, c.capture_id FROM training.calls c JOIN wanted USING (asked_at, capture_id)
    WHERE c.trajectory_id IS NULL ORDER BY c.asked_at, c.capture_id FOR UPDATE OF c
)
UPDATE training.calls c SET trajectory_id = w.trajectory_id, place = w.place
FROM mine JOIN wanted w USING (asked_at, capture_id)
WHERE c.asked_at = mine.asked_at AND c.capture_id = mine.capture_id
RETURNING c.capture_id
