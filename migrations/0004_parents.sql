-- The tree of checkpoints: a manifest may be large, and each plan asks for the parent of each step.
ALTER TABLE training.steps
    ADD COLUMN parent_step integer
        GENERATED ALWAYS AS (coalesce((manifest ->> 'parent_step')::integer, base_step)) STORED;
