-- All that babylon-tasks owns. Nothing here refers to Babylon's tables by foreign key:
-- Babylon may delete an agent with all its trajectories, and what was learned from them,
-- and why, must stay on record.
CREATE SCHEMA IF NOT EXISTS training;

CREATE TABLE training.windows (
    window_id       varchar(50) PRIMARY KEY,
    starts_at       timestamptz NOT NULL,
    held_out        boolean     NOT NULL,
    state           text        NOT NULL DEFAULT 'open' CHECK (state IN
        ('open', 'sealed', 'scoring', 'scored', 'training', 'trained', 'held_out', 'skipped', 'failed')),
    reason          text,
    trajectories    integer,
    agents          integer,
    scored          integer,
    rejected        integer,
    reward_mean     double precision,
    reward_std      double precision,
    reward_version  integer     NOT NULL DEFAULT 1,
    attempt         integer     NOT NULL DEFAULT 0,  -- fencing token of the scoring claim
    training_tries  integer     NOT NULL DEFAULT 0,  -- training runs begun with it and not finished
    late_checked_at timestamptz,                     -- last look for trajectories that came after the seal
    lease_owner     text,
    lease_until     timestamptz,
    next_attempt_at timestamptz,
    enqueued_at     timestamptz,                     -- last message sent for it; a hint, never the truth
    opened_at       timestamptz NOT NULL DEFAULT now(),
    sealed_at       timestamptz,
    scored_at       timestamptz,
    trained_at      timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX windows_unfinished ON training.windows (starts_at)
    WHERE state IN ('open', 'sealed', 'scoring', 'scored', 'training');
CREATE INDEX windows_held_out ON training.windows (starts_at) WHERE state = 'held_out';

CREATE TABLE training.scores (
    trajectory_id  text             NOT NULL,
    reward_version integer          NOT NULL,
    window_id      varchar(50)      NOT NULL,
    agent_id       text             NOT NULL,
    group_key      text             NOT NULL,  -- scenario inside the window; '' = the window itself
    scorer         text             NOT NULL,
    scorer_version text             NOT NULL,
    reward         double precision NOT NULL CHECK (reward >= 0 AND reward <= 1),
    components     jsonb            NOT NULL,
    scored_at      timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (trajectory_id, reward_version)
);
CREATE INDEX scores_window ON training.scores (window_id, group_key);

CREATE TABLE training.rejections (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trajectory_id  text        NOT NULL,
    window_id      varchar(50) NOT NULL,
    reward_version integer     NOT NULL,
    stage          text        NOT NULL CHECK (stage IN ('seal', 'decode', 'score', 'dataset')),
    reason         text        NOT NULL,
    detail         text,
    rejected_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (trajectory_id, reward_version, stage, reason)
);
CREATE INDEX rejections_window ON training.rejections (window_id, reason);

CREATE TABLE training.lineages (
    name               text        PRIMARY KEY,
    base_model         text        NOT NULL,
    backend            text        NOT NULL,
    head_step          integer     NOT NULL DEFAULT 0,
    serving_step       integer     NOT NULL DEFAULT 0,
    inference_base_url text,
    attempt            bigint      NOT NULL DEFAULT 0,  -- fencing token: each claim takes the next one
    lease_owner        text,
    lease_until        timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE training.steps (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage          text        NOT NULL REFERENCES training.lineages (name),
    base_step        integer     NOT NULL,
    target_step      integer     NOT NULL CHECK (target_step = base_step + 1),
    state            text        NOT NULL DEFAULT 'planned' CHECK (state IN
        ('planned', 'running', 'trained', 'committed', 'failed')),
    attempt          bigint      NOT NULL,
    tries            integer     NOT NULL DEFAULT 1,
    backend          text        NOT NULL,
    job_reference    text,
    windows          text[]      NOT NULL,
    manifest_hash    text        NOT NULL,
    manifest         jsonb       NOT NULL,
    progress         jsonb,
    metrics          jsonb,
    gradient_steps   integer,
    trainable_tokens bigint,
    adapter_hash     text,
    cost_usd         double precision,
    error            text,
    next_attempt_at  timestamptz,
    planned_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    trained_at       timestamptz,
    committed_at     timestamptz,
    failed_at        timestamptz
);
CREATE UNIQUE INDEX steps_one_per_target ON training.steps (lineage, target_step)
    WHERE state <> 'failed';

CREATE TABLE training.consumption (
    lineage        text        NOT NULL REFERENCES training.lineages (name),
    trajectory_id  text        NOT NULL,
    reward_version integer     NOT NULL,
    window_id      varchar(50) NOT NULL,
    step_id        bigint      REFERENCES training.steps (id),  -- NULL: used up without a step
    use            text        NOT NULL CHECK (use IN ('trained', 'no_spread', 'too_small')),
    consumed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lineage, trajectory_id)
);
CREATE INDEX consumption_step ON training.consumption (step_id);
CREATE INDEX consumption_window ON training.consumption (window_id);

CREATE TABLE training.checkpoints (
    lineage        text        NOT NULL REFERENCES training.lineages (name),
    step           integer     NOT NULL,
    step_id        bigint      REFERENCES training.steps (id),  -- NULL: step 0, the base model
    uri            text        NOT NULL,
    content_hash   text,
    inference_name text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lineage, step)
);

CREATE TABLE training.evaluations (
    id           bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage      text             NOT NULL REFERENCES training.lineages (name),
    step         integer          NOT NULL,
    set_hash     text             NOT NULL,
    windows      text[]           NOT NULL,
    groups       integer          NOT NULL,
    value        double precision NOT NULL,
    coverage     double precision NOT NULL,
    entropy      double precision NOT NULL,
    group_values jsonb            NOT NULL,
    evaluated_at timestamptz      NOT NULL DEFAULT now(),
    UNIQUE (lineage, step, set_hash)
);

CREATE TABLE training.promotions (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lineage    text        NOT NULL REFERENCES training.lineages (name),
    decision   text        NOT NULL CHECK (decision IN ('promote', 'hold', 'rollback')),
    from_step  integer     NOT NULL,
    to_step    integer     NOT NULL,
    reason     text        NOT NULL,
    evidence   jsonb       NOT NULL,
    actor      text        NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX promotions_lineage ON training.promotions (lineage, id);

-- Every decision about a window or a step, in order: what `babylon-tasks why` reads.
CREATE TABLE training.events (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    window_id   varchar(50),
    lineage     text,
    step_id     bigint,
    kind        text        NOT NULL,
    detail      jsonb       NOT NULL DEFAULT '{}',
    actor       text        NOT NULL
);
CREATE INDEX events_window ON training.events (window_id, id);
CREATE INDEX events_step ON training.events (step_id, id);
