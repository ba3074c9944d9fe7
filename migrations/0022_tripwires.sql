-- What tripped before a step, with its evidence. Rows are only added: a window is kept from training
-- by a row of policy 'hold' until an acceptance refers to it, or its rewards are made anew.
CREATE TABLE training.tripwires (
    id             bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage        text             NOT NULL REFERENCES training.lineages (name),
    window_id      varchar(50)      NOT NULL,
    reward_version integer          NOT NULL,
    step_id        bigint           REFERENCES training.steps (id),  -- NULL: none took the window
    target_step    integer          NOT NULL,                        -- the checkpoint it was to make
    kind           text             NOT NULL,                        -- babylon_tasks/tripwires.py
    policy         text             NOT NULL CHECK (policy IN ('warn', 'hold')),
    what           text             NOT NULL,
    measured       double precision NOT NULL,
    bound          double precision NOT NULL,
    source         text             NOT NULL,                        -- where the bound comes from
    evidence       jsonb            NOT NULL,
    actor          text             NOT NULL,
    found_at       timestamptz      NOT NULL DEFAULT now()
);
CREATE INDEX tripwires_window ON training.tripwires (window_id, lineage);
CREATE INDEX tripwires_lineage ON training.tripwires (lineage, id);

CREATE TABLE training.accepted_tripwires (
    tripwire_id bigint      PRIMARY KEY REFERENCES training.tripwires (id),
    actor       text        NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now()
);

-- What steps took of windows, in figures: later windows are compared with them.
CREATE TABLE training.window_figures (
    step_id   bigint      NOT NULL REFERENCES training.steps (id),
    lineage   text        NOT NULL,
    window_id varchar(50) NOT NULL,
    figures   jsonb       NOT NULL,  -- rewards by bins, trajectories by archetype, a sketch of the answers
    PRIMARY KEY (step_id, window_id)
);
CREATE INDEX window_figures_lineage ON training.window_figures (lineage, step_id);
