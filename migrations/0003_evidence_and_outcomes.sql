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

-- Until now activity was rewarded, for each trajectory by itself, and outcomes were looked at once:
-- what no step has used is scored again, but for hours in which planning found nothing to train on.
UPDATE training.windows w SET rescore = 'scored by an older version'
WHERE w.state IN ('scored', 'training', 'held_out', 'failed')
   OR w.state = 'skipped'
      AND NOT EXISTS (SELECT FROM training.consumption u WHERE u.window_id = w.window_id)
      AND NOT EXISTS (SELECT FROM training.rejections r
                      WHERE r.window_id = w.window_id AND r.stage = 'dataset');

CREATE INDEX windows_rescore ON training.windows (starts_at) WHERE rescore IS NOT NULL;

-- How markets ended, as Babylon's market_outcomes last said: one row for each hour that it names.
CREATE TABLE training.outcomes (
    kind       text        NOT NULL CHECK (kind IN ('market', 'stock')),
    name       text        NOT NULL,                     -- prediction market id, or ticker
    window_id  varchar(50) NOT NULL,
    yes        boolean,                                  -- NULL: the last word was neither YES nor NO
    change     double precision,                         -- percent
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name, window_id),
    CHECK (kind = 'market' AND change IS NULL
           OR kind = 'stock' AND yes IS NULL AND change IS NOT NULL)
);
-- By day, for whoever copies. By the hour itself it would also be in the order that a look-up asks
-- for, and Postgres might read through all names to find one.
CREATE INDEX outcomes_day ON training.outcomes (left(window_id, 10));

-- Which markets the bets of a window name, and how its newest reward version knew them: what it
-- waits for, and who must hear of a new outcome. Neither yes nor change: not known then.
CREATE TABLE training.bets (
    window_id varchar(50)      NOT NULL REFERENCES training.windows (window_id),
    kind      text             NOT NULL CHECK (kind IN ('market', 'stock')),
    name      text             NOT NULL,
    yes       boolean,
    change    double precision,
    PRIMARY KEY (window_id, kind, name)
);
CREATE INDEX bets_name ON training.bets (name, window_id);

-- The same with what is known now. A prediction market ends once, so its latest word counts; a
-- stock moves in every hour, so the first one from the bet's hour on does. Where the id of a market
-- is a ticker, the stock counts. Rewards follow from where a price went, not from how far.
CREATE VIEW training.bets_now AS
SELECT b.*, market.yes AS yes_now, stock.change AS change_now,
       market.yes IS NOT NULL OR stock.change IS NOT NULL AS known,
       b.yes IS DISTINCT FROM market.yes OR sign(b.change) IS DISTINCT FROM sign(stock.change)
           AS differs
FROM training.bets b
LEFT JOIN LATERAL (
    SELECT o.yes FROM training.outcomes o
    WHERE b.kind = 'market' AND o.kind = 'market' AND o.name = b.name
      AND o.window_id >= b.window_id
    ORDER BY o.window_id DESC LIMIT 1) market ON true
LEFT JOIN LATERAL (
    SELECT o.change FROM training.outcomes o
    WHERE o.kind = 'stock' AND o.name = b.name AND o.window_id >= b.window_id
    ORDER BY o.window_id LIMIT 1) stock ON true;
