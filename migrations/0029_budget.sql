-- Whether planning waits for a budget was last on record as so or not so.
CREATE INDEX events_budget ON training.events (lineage, id)
    WHERE kind IN ('budget_spent', 'budget_left');
