-- Checkpoints that could not be verified are kept apart, neither served nor trained from.
CREATE TABLE training.set_aside (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage      text        NOT NULL REFERENCES training.lineages (name),
    step         integer     NOT NULL,                            -- the number that it had
    step_id      bigint      REFERENCES training.steps (id),      -- NULL: of no step in work
    folder       text        NOT NULL,                            -- its name under set-aside/
    why          text        NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz                                      -- by hand, or by retention
);
-- A job at W&B is followed by whoever takes its step over, for a bounded time.
ALTER TABLE training.steps ADD COLUMN job_asked_at timestamptz;  -- since when job_reference is set
CREATE INDEX set_aside_kept ON training.set_aside (lineage) WHERE deleted_at IS NULL;
