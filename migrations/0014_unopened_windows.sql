-- Window ids of Babylon's rows that get no window, and why. The reason is the hour's, not the row's:
-- three years before the look-back are 26,000 rows here, whatever happened in them.
CREATE TABLE training.unopened_windows (
    window_id  text        PRIMARY KEY,
    reason     text        NOT NULL CHECK (reason IN
        ('before_lookback', 'not_begun', 'bad_window_id')),
    noticed_at timestamptz NOT NULL DEFAULT now()
);

-- `discover` surveys the window ids of all rows, a part in each call, and begins again at the end.
CREATE TABLE training.survey (
    id          boolean     PRIMARY KEY DEFAULT true CHECK (id),  -- one row
    next_id     text,         -- where the next call goes on; NULL: it begins
    begun_with  pg_snapshot,  -- the rows that the survey under way is sure to meet
    covered     pg_snapshot,  -- those that the last complete one has met
    surveyed_at timestamptz   -- the last call
);
INSERT INTO training.survey DEFAULT VALUES;
