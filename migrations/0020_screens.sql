-- Screens: candidates that answered held-out questions, and what came of it. A row is written when a
-- screen begins and once more when it ends; without an end nothing has been decided.
CREATE TABLE training.screens (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage      text        NOT NULL,
    step         integer     NOT NULL,  -- the candidate
    serving_step integer     NOT NULL,  -- what served when it began
    against      text        NOT NULL CHECK (against IN ('serving', 'recorded')),
    set_hash     text        NOT NULL,  -- of the questions
    questions    integer     NOT NULL CHECK (questions >= 0),
    terms        jsonb       NOT NULL,  -- the rule's bounds
    actor        text        NOT NULL,
    began_at     timestamptz NOT NULL DEFAULT now(),
    result       text        CHECK (result IN ('passed', 'refused', 'too_few')),
    reason       text,
    figures      jsonb,
    ended_at     timestamptz,
    FOREIGN KEY (lineage, step) REFERENCES training.checkpoints (lineage, step),
    FOREIGN KEY (lineage, serving_step) REFERENCES training.checkpoints (lineage, step),
    CHECK (num_nonnulls(result, reason, figures, ended_at) IN (0, 4))
);
CREATE INDEX screens_newest ON training.screens (lineage, step, id);
-- One that broke off is gone on with, by whoever comes next.
CREATE UNIQUE INDEX screens_open ON training.screens (lineage, step, serving_step, against, set_hash)
    WHERE ended_at IS NULL;

-- The answers: two for each question, the candidate's and the one that it is compared with.
CREATE TABLE training.screen_samples (
    screen_id     bigint           NOT NULL REFERENCES training.screens (id),
    place         integer          NOT NULL,  -- of the question
    candidate     boolean          NOT NULL,
    window_id     varchar(50)      NOT NULL,
    trajectory_id text             NOT NULL,
    call_number   integer          NOT NULL,  -- among the trajectory's calls, from 0
    prompt_hash   bytea            NOT NULL,  -- SHA-256 of the messages
    answer        text             NOT NULL,  -- its beginning
    answer_hash   bytea            NOT NULL,  -- SHA-256 of all of it
    decides       text             NOT NULL,  -- what it comes to
    valid         boolean          NOT NULL,  -- an agent could act upon it
    rightness     double precision,           -- NULL: no outcome is known
    length        integer          NOT NULL,  -- characters
    repeats       boolean          NOT NULL,
    tokens        integer,
    finish_reason text,
    answered_at   timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (screen_id, place, candidate)
);
