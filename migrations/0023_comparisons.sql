-- Comparisons of what serves with an anchor, by arms of agents. Rows are only added: a trigger
-- refuses everything else, because what was concluded must be possible to check later.
CREATE TABLE training.comparisons (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage      text        NOT NULL REFERENCES training.lineages (name),
    anchor_step  integer,                -- the anchor when it began: a checkpoint,
    anchor_model text,                   -- or a model of another server of the gateway
    parameters   json        NOT NULL,   -- of the rule, to its end; json, not jsonb: kept as written
    began_window varchar(50) NOT NULL,   -- the first hour that is compared
    actor        text        NOT NULL,
    began_at     timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (lineage, anchor_step) REFERENCES training.checkpoints (lineage, step),
    CHECK (num_nonnulls(anchor_step, anchor_model) = 1)
);
CREATE INDEX comparisons_newest ON training.comparisons (lineage, id);

CREATE TABLE training.ended_comparisons (
    comparison_id bigint      PRIMARY KEY REFERENCES training.comparisons (id),
    reason        text        NOT NULL,
    actor         text        NOT NULL,
    ended_at      timestamptz NOT NULL DEFAULT now()
);

-- What each hour showed, and what followed from it. Hours are compared in order, each once; one whose
-- rewards came after a later hour was compared is on record as late, and shows nothing.
CREATE TABLE training.comparison_windows (
    comparison_id  bigint      NOT NULL REFERENCES training.comparisons (id),
    window_id      varchar(50) NOT NULL,
    reward_version integer     NOT NULL,
    conclusion     text        NOT NULL,  -- babylon_tasks/comparison/conclusion.py, or 'late'
    observation    json,                  -- the arms' figures, by stratum
    state          json,                  -- after it
    evidence       json,
    compared_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (comparison_id, window_id),
    CHECK (num_nonnulls(observation, state, evidence) = CASE conclusion WHEN 'late' THEN 0 ELSE 3 END)
);

CREATE FUNCTION training.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of training.% are only added, never changed or deleted', TG_TABLE_NAME;
END $$;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.comparisons
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.ended_comparisons
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.comparison_windows
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
