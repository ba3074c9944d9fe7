-- Which shares of a lineage's agents get another policy than what serves. A row is written with the
-- decision that it belongs to, and never changed: the newest of those whose hour has begun counts.
CREATE TABLE training.arms (
    id             bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage        text             NOT NULL REFERENCES training.lineages (name),
    from_window    text             NOT NULL,  -- the first hour; one that has begun: at once
    salt           text             NOT NULL,  -- agents are drawn anew with each hour and each salt
    control_share  double precision NOT NULL CHECK (control_share >= 0),
    control_step   integer,                    -- the anchor: a checkpoint
    control_model  text,                       -- or a model of another server of the gateway
    examinee_share double precision NOT NULL CHECK (examinee_share >= 0),
    examinee_step  integer,                    -- the checkpoint on trial
    decided_at     timestamptz      NOT NULL DEFAULT now(),
    FOREIGN KEY (lineage, control_step) REFERENCES training.checkpoints (lineage, step),
    FOREIGN KEY (lineage, examinee_step) REFERENCES training.checkpoints (lineage, step),
    CHECK (control_share + examinee_share <= 1),  -- all others get what serves
    CHECK (control_share = 0 OR num_nonnulls(control_step, control_model) = 1),
    CHECK (examinee_share = 0 OR examinee_step IS NOT NULL)
);
CREATE INDEX arms_newest ON training.arms (lineage, id);

DROP INDEX training.calls_joined;  -- nothing looks for captured calls by their trajectory
