-- A group of which only a few earned less than the rest would make the policy surer and teach
-- nothing new: it is used up as settled.
ALTER TABLE training.consumption
    DROP CONSTRAINT consumption_use_check,
    ADD CONSTRAINT consumption_use_check
        CHECK (use IN ('trained', 'no_spread', 'only_activity', 'settled', 'too_small'));
