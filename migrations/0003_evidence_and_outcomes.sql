-- Rewards are made anew when outcomes come or rows change; outcomes are kept in a table of our own.
ALTER TABLE training.windows
    ADD COLUMN waits_until timestamptz,                  -- for outcomes, at most so long; NULL: it does not wait
    ADD COLUMN rescore     text,                         -- why it is to be scored again; NULL: it is not
    ADD COLUMN changes     integer NOT NULL DEFAULT 0,   -- how often Babylon's rewriting made it be scored again
    ADD COLUMN left_over   integer NOT NULL DEFAULT 0,   -- comparable trajectories that no step has taken yet
    ADD COLUMN profit_mean double precision,             -- of the newest reward version, in Babylon's money
    ADD COLUMN right_share double precision;             -- right decisions among those known to be right or wrong

-- A trajectory may be scored in one hour and, its windowId filled in later, again in another;
-- that it is used once is the law of training.consumption.
ALTER TABLE training.scores
    ADD COLUMN content_hash text,                        -- of what Babylon held when it was scored
    DROP CONSTRAINT scores_pkey,
    ADD PRIMARY KEY (trajectory_id, reward_version, window_id);

ALTER TABLE training.rejections
    DROP CONSTRAINT rejections_trajectory_id_reward_version_stage_reason_key,
    ADD UNIQUE (trajectory_id, reward_version, window_id, stage, reason);

ALTER TABLE training.consumption
    DROP CONSTRAINT consumption_use_check,
    ADD CONSTRAINT consumption_use_check
        CHECK (use IN ('trained', 'no_spread', 'only_activity', 'too_small'));

-- How markets ended, as Babylon's market_outcomes last said: one row for each hour that it names.
CREATE TABLE training.outcomes (
    kind       text        NOT NULL CHECK (kind IN ('market', 'stock')),
    name       text        NOT NULL,                     -- prediction market id, or ticker
    window_id  varchar(50) NOT NULL,
    yes        boolean,
    change     double precision,                         -- percent
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name, window_id),
    CHECK ((kind = 'market') = (yes IS NOT NULL) AND (kind = 'stock') = (change IS NOT NULL))
);
CREATE INDEX outcomes_window ON training.outcomes (window_id);

-- Which markets the bets of a window name: what it waits for, and who must hear of a new outcome.
CREATE TABLE training.bets (
    window_id varchar(50) NOT NULL REFERENCES training.windows (window_id),
    kind      text        NOT NULL CHECK (kind IN ('market', 'stock')),
    name      text        NOT NULL,
    known     boolean     NOT NULL,                      -- whether the newest reward version knew its outcome
    PRIMARY KEY (window_id, kind, name)
);
CREATE INDEX bets_name ON training.bets (kind, name);
