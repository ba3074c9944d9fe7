-- What is counted at each scrape or read for each plan is read from an index alone, and what happened to
-- a checkpoint is found by its number: the rows, with their manifests and evidence, are a hundred times
-- as large.
CREATE INDEX windows_states ON training.windows (state, window_id);
CREATE INDEX lineage_windows_failed ON training.lineage_windows (lineage, window_id)
    WHERE state = 'failed';
CREATE INDEX steps_states ON training.steps (lineage, state, committed_at)
    INCLUDE (target_step, parent_step);
CREATE INDEX checkpoints_names ON training.checkpoints (lineage, inference_name, created_at)
    INCLUDE (step);
CREATE INDEX promotions_decisions ON training.promotions (lineage, decision, decided_at);
CREATE INDEX promotions_to ON training.promotions (lineage, to_step, id);
CREATE INDEX promotions_rolled_back ON training.promotions (lineage, from_step, id)
    WHERE decision = 'rollback';
CREATE INDEX events_to ON training.events (lineage, ((detail ->> 'to_step')::int))
    WHERE kind IN ('promote', 'hold', 'rollback');
CREATE INDEX events_from ON training.events (lineage, ((detail ->> 'from_step')::int))
    WHERE kind IN ('promote', 'hold', 'rollback');
