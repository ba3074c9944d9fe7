-- name: terminate
-- End sessions like ours whose client has been silent inside a transaction for too long. Postgres
-- itself does so between statements; in the middle of COPY FROM STDIN it waits for ever.
-- Materialized: else Postgres may call the function before it has compared the rest.
WITH silent AS MATERIALIZED (
    SELECT pid
    FROM pg_stat_activity
    WHERE usename = current_user AND datname = current_database()
      AND application_name = current_setting('application_name')
      AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
      AND state_change < clock_timestamp() - make_interval(secs => %(seconds)s)
)
SELECT pid FROM silent WHERE pg_terminate_backend(pid)
