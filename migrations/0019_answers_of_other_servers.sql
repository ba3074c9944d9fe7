-- Answers of other servers are captured too, without ids: who asked, in which arm, and what came of
-- it, so that an hour is known whichever model answered. Such a row has no step.
ALTER TABLE training.calls
    ALTER COLUMN step DROP NOT NULL,
    ADD COLUMN server text,  -- of BABYLON_GATEWAY_UPSTREAMS; NULL: the checkpoints' own
    ADD COLUMN model  text,  -- what that server was asked for
    -- What GRPO takes is a checkpoint's. Rows from before have a step, and are not read for this.
    ADD CONSTRAINT calls_ids_are_of_a_checkpoint
        CHECK (step IS NOT NULL OR (server IS NOT NULL AND model IS NOT NULL
                                    AND token_ids IS NULL AND logprobs IS NULL)) NOT VALID;
