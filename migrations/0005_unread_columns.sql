-- Columns that no statement of any version names: a pod of an older version does not miss them.
ALTER TABLE training.steps DROP COLUMN cost_usd;
ALTER TABLE training.rejections DROP COLUMN rejected_at;
ALTER TABLE training.consumption DROP COLUMN consumed_at;

-- Which steps a window was part of: `why`, `status` and the demo ask by window, with @>.
CREATE INDEX steps_windows ON training.steps USING gin (windows);
