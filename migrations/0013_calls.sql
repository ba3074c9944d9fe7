-- What the gateway saw of each answer of a checkpoint: exactly how it was sampled. Recorded calls
-- that lack this are joined to it by the hashes of their texts. No text is stored.
CREATE TABLE training.calls (
    capture_id        uuid        NOT NULL,
    asked_at          timestamptz NOT NULL,  -- by the gateway's clock
    window_id         text        NOT NULL,  -- the hour of asked_at
    agent             text,                  -- NULL: nothing named one
    agent_source      text        NOT NULL,  -- header, path, key, user, none
    client            text        NOT NULL,  -- whose key it was
    lineage           text        NOT NULL,
    step              integer     NOT NULL,  -- the checkpoint that answered
    arm               text,                  -- of an experiment; none is drawn yet
    system_hash       bytea       NOT NULL,  -- SHA-256 of the texts as Babylon stores them
    user_hash         bytea       NOT NULL,
    answer_hash       bytea       NOT NULL,
    sample_state      text        NOT NULL,  -- complete: token_ids and logprobs are exact
    token_ids         bytea,                 -- int32, little-endian, one for each sampled token
    logprobs          bytea,                 -- float32, little-endian, as many
    sampling          jsonb       NOT NULL,  -- the parameters that were sent to the server
    finish_reason     text,
    prompt_tokens     integer,               -- as the server counted
    completion_tokens integer,
    latency_ms        integer     NOT NULL,  -- until the server had answered
    trajectory_id     text,                  -- the recorded call that this is: of this trajectory,
    place             integer,               -- by its index there; no other call may be joined to it
    PRIMARY KEY (asked_at, capture_id),
    CHECK ((trajectory_id IS NULL) = (place IS NULL))
) PARTITION BY RANGE (asked_at);
CREATE INDEX calls_texts ON training.calls (answer_hash, user_hash);
CREATE INDEX calls_joined ON training.calls (trajectory_id) WHERE trajectory_id IS NOT NULL;
CREATE INDEX calls_window ON training.calls (window_id);

-- Only the owner of a partitioned table may add a partition or drop one, and the processes' role
-- need not be that: these two do it for them. One day is one partition, calls_YYYYMMDD (UTC).
CREATE FUNCTION training.make_call_partitions(first date, last date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    day  date := first;
    made integer := 0;
    name text;
BEGIN
    IF last - first > 400 THEN
        RAISE EXCEPTION 'from % to % are too many days', first, last;
    END IF;
    PERFORM pg_advisory_xact_lock(7018331104228);  -- one maker at a time
    WHILE day <= last LOOP
        name := 'calls_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('training.' || name) IS NULL THEN
            -- Attached, not created as a partition: that would lock out who reads and writes.
            EXECUTE format('CREATE TABLE training.%I (LIKE training.calls INCLUDING ALL)', name);
            EXECUTE format('ALTER TABLE training.calls ATTACH PARTITION training.%I'
                           ' FOR VALUES FROM (%L) TO (%L)',
                           name, day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00');
            made := made + 1;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION training.drop_call_partitions(before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name    text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7018331104228);
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'training.calls'::regclass
              AND c.relname < 'calls_' || to_char(before, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE training.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- Agents have USAGE on this schema: what they may not delete, no function may for them.
REVOKE ALL ON FUNCTION training.make_call_partitions(date, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION training.drop_call_partitions(date) FROM PUBLIC;
