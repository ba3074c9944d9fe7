-- After repeated faults of one kind that are no window's own, scoring or a lineage's training pauses.
CREATE TABLE training.circuits (
    name         text        PRIMARY KEY,  -- 'scoring', or 'training LINEAGE'
    fault        text        NOT NULL,     -- the last one's kind: faults.py
    faults       integer     NOT NULL,     -- in a row, of one kind until it opened
    reason       text        NOT NULL,     -- the last one's
    opened_at    timestamptz,              -- NULL: too few faults yet
    next_try_at  timestamptz,              -- one worker may try then
    updated_at   timestamptz NOT NULL DEFAULT now()
);
