-- name: missing_days
-- Which of these days have no partition yet.
SELECT day FROM unnest(%(days)s::date[]) AS day
WHERE to_regclass('training.calls_' || to_char(day, 'YYYYMMDD')) IS NULL

-- name: make_partitions
-- Make the partitions of these days, the last included.
SELECT training.make_call_partitions(%(first)s::date, %(last)s::date)

-- name: old_days
-- How many partitions are of days before this one.
SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('training.calls')
      AND c.relname < 'calls_' || to_char(%(before)s::date, 'YYYYMMDD')

-- name: drop_partitions
-- Drop the partitions of all days before this one.
SELECT training.drop_call_partitions(%(before)s::date)

-- name: insert
-- Insert captured calls; repeated after an unclear commit, it changes nothing.
INSERT INTO training.calls (
    capture_id, asked_at, window_id, agent, agent_source, client, lineage, step, system_hash,
    user_hash, answer_hash, sample_state, token_ids, logprobs, sampling, finish_reason,
    prompt_tokens, completion_tokens, latency_ms, arm, server, model)
SELECT * FROM unnest(
    %(capture_id)s::uuid[], %(asked_at)s::timestamptz[], %(window_id)s::text[],
    %(agent)s::text[], %(agent_source)s::text[], %(client)s::text[], %(lineage)s::text[],
    %(step)s::integer[], %(system_hash)s::bytea[], %(user_hash)s::bytea[],
    %(answer_hash)s::bytea[], %(sample_state)s::text[], %(token_ids)s::bytea[],
    %(logprobs)s::bytea[], %(sampling)s::jsonb[], %(finish_reason)s::text[],
    %(prompt_tokens)s::integer[], %(completion_tokens)s::integer[], %(latency_ms)s::integer[],
    %(arm)s::text[], %(server)s::text[], %(model)s::text[])
ON CONFLICT (asked_at, capture_id) DO NOTHING
