-- name: is_read_only
-- Whether a transaction cannot write; on a standby none can.
SELECT current_setting('transaction_read_only') = 'on'
