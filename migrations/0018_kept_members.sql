-- What a step was trained on, so that it can be replayed whatever Babylon does to its rows since.
-- The steps' columns come first: a foreign key takes a weaker lock of their table, and going on from it
-- to this one deadlocks with whoever has read a step and is about to write it.
ALTER TABLE training.steps
    ADD COLUMN members_kept_at   timestamptz,  -- NULL: nothing was kept
    ADD COLUMN members_pruned_at timestamptz;
CREATE INDEX steps_members_kept ON training.steps (id)
    WHERE members_kept_at IS NOT NULL AND members_pruned_at IS NULL;

CREATE TABLE training.step_members (
    step_id bigint NOT NULL REFERENCES training.steps (id),
    content bytea  NOT NULL,  -- SHA-256 of the member's canonical JSON, as the step's manifest lists it
    member  bytea  NOT NULL,  -- that JSON, compressed (zlib)
    PRIMARY KEY (step_id, content)
);
ALTER TABLE training.step_members ALTER COLUMN member SET STORAGE EXTERNAL;  -- not compressed twice

-- The bets of a step's windows as they were when it was planned: the outcomes behind its rewards.
CREATE TABLE training.step_bets (
    step_id   bigint           NOT NULL REFERENCES training.steps (id),
    window_id varchar(50)      NOT NULL,
    kind      text             NOT NULL,
    name      text             NOT NULL,
    yes       boolean,
    change    double precision,
    PRIMARY KEY (step_id, window_id, kind, name)
);
