-- Too many rollbacks: no step of a lineage is planned until somebody has looked and lifts the pause.
-- Rows are only added.
CREATE TABLE training.pauses (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage       text        NOT NULL REFERENCES training.lineages (name),
    comparison_id bigint      NOT NULL REFERENCES training.comparisons (id),
    window_id     varchar(50) NOT NULL,  -- the hour whose conclusion it was
    reason        text        NOT NULL,
    actor         text        NOT NULL,
    paused_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pauses_lineage ON training.pauses (lineage, id);

CREATE TABLE training.lifted_pauses (
    pause_id  bigint      PRIMARY KEY REFERENCES training.pauses (id),
    reason    text        NOT NULL,
    actor     text        NOT NULL,
    lifted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.pauses
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.lifted_pauses
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.tripwires
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.accepted_tripwires
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
