-- What was decided, and why, must be possible to check later: decisions, arms, evaluations, events
-- and screens are kept as comparisons are, and as tripwires and pauses since 0024.
CREATE OR REPLACE FUNCTION training.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of training.% are only %', TG_TABLE_NAME,
        coalesce(TG_ARGV[0], 'added, never changed or deleted');
END $$;

CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.promotions
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.arms
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.evaluations
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON training.events
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change();

-- A screen gets its end, once.
CREATE TRIGGER only_added BEFORE DELETE ON training.screens
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change('added and ended once, never deleted');
CREATE TRIGGER only_ended BEFORE UPDATE ON training.screens
    FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL
          OR to_jsonb(OLD) - '{result,reason,figures,ended_at}'::text[]
             <> to_jsonb(NEW) - '{result,reason,figures,ended_at}'::text[])
    EXECUTE FUNCTION training.refuse_change('added and ended once, never changed otherwise');

-- Answers go with old rows: no setting keeps them for less than an hour. A part of a screen's would
-- be another screen.
CREATE FUNCTION training.refuse_early_deletion() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM gone JOIN training.screens s ON s.id = gone.screen_id
               WHERE s.began_at > now() - interval '1 hour'
                  OR EXISTS (SELECT FROM training.screen_samples rest
                             WHERE rest.screen_id = gone.screen_id)) THEN
        RAISE EXCEPTION 'rows of training.screen_samples are only deleted when they are old, all of a screen together: run `babylon-tasks prune`';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER only_pruned AFTER DELETE ON training.screen_samples
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION training.refuse_early_deletion();
CREATE TRIGGER only_added BEFORE UPDATE ON training.screen_samples
    FOR EACH ROW EXECUTE FUNCTION training.refuse_change('added, never changed');
