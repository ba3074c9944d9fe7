-- What a committed checkpoint's files are (name to SHA-256), to be compared before it is loaded.
-- '{}': committed before this migration; then only content_hash, that of the weights, is compared.
ALTER TABLE training.checkpoints ADD COLUMN files jsonb NOT NULL DEFAULT '{}';

ALTER TABLE training.lineages
    ADD COLUMN data_folder   text,         -- id of the folder that holds its checkpoints
    ADD COLUMN trainer_owner text,         -- the one trainer that may serve and train it: the lock
    ADD COLUMN trainer_until timestamptz,  -- that it holds, and until when without a renewal
    ADD COLUMN trouble       text;         -- what is wrong with its files; NULL: nothing
