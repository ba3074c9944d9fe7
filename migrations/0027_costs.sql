-- What was spent in some hours is found by its moment: when runs of steps ended, and when a judge
-- was paid.
CREATE INDEX events_costs ON training.events (happened_at)
    WHERE kind IN ('judged', 'step_trained', 'step_broke_off', 'step_interrupted', 'step_failed',
                   'step_taken_over');
CREATE INDEX screens_began_at ON training.screens (lineage, began_at);

-- Whoever serves by the token is paid for prompts too. NULL: not counted, as before this release.
ALTER TABLE training.screen_samples ADD COLUMN prompt_tokens integer;
