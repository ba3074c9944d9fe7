-- How a step learns. An older version beside this one plans none but GRPO's.
ALTER TABLE training.steps
    ADD COLUMN method text NOT NULL DEFAULT 'grpo' CHECK (method IN ('grpo', 'supervised'));
