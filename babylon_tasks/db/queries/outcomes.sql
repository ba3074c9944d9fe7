-- part: yes
-- Babylon's word for how a prediction market ended; NULL: neither YES nor NO.
CASE WHEN lower(btrim(outcome, E' \t\r\n')) = ANY (%(yes)s) THEN true
     WHEN lower(btrim(outcome, E' \t\r\n')) = ANY (%(no)s) THEN false END

-- part: change
-- How a stock's price moved, in percent.
coalesce(nullif("changePercent", 'NaN'),
         ("endPrice" - "startPrice") / nullif("startPrice", 0) * 100)::float8

-- name: is_kept
-- Whether outcomes were ever copied here: before that, only Babylon's own table has them.
SELECT to_regclass('training.outcomes') IS NOT NULL

-- name: of_markets
-- How prediction markets ended: the latest outcome of each, in this window or a later one.
SELECT asked.name, latest.yes
FROM unnest(%(markets)s::text[]) AS asked (name)
CROSS JOIN LATERAL (
    SELECT o.yes FROM training.outcomes o
    WHERE o.kind = 'market' AND o.name = asked.name AND o.window_id >= %(window)s
    ORDER BY o.window_id DESC LIMIT 1) AS latest
WHERE latest.yes IS NOT NULL

-- name: of_stocks
-- How prices moved: each ticker's earliest window from this one on.
SELECT asked.name, first.change
FROM unnest(%(tickers)s::text[]) AS asked (name)
CROSS JOIN LATERAL (
    SELECT o.change FROM training.outcomes o
    WHERE o.kind = 'stock' AND o.name = asked.name AND o.window_id >= %(window)s
    ORDER BY o.window_id LIMIT 1) AS first

-- name: newest
-- The latest hour ever copied, of those that have begun; no row if there is none.
SELECT window_id FROM training.outcomes WHERE window_id <= %(now)s
ORDER BY left(window_id, 10) DESC, window_id DESC
LIMIT 1

-- name: show_writers
-- Whether the rows of Babylon's outcomes say who wrote them, and to us: those of a view do not, nor
-- those of another server's partition, and xmin takes a right on all columns.
SELECT relkind = 'r' AND NOT relhassubclass AND has_table_privilege(oid, 'SELECT')
FROM pg_class WHERE oid = to_regclass('market_outcomes')

-- name: look
-- Babylon's outcomes from an hour on: how many, and a sum over the transactions that wrote them.
SELECT %(since)s::text AS since, count(*) AS rows,
       coalesce(sum(hashint8extended(xmin::text::bigint, 0)), 0)::text AS writers
FROM market_outcomes
WHERE "windowId" >= %(since)s

-- name: take_turn
-- Allow one copy at a time, and no scoring to end meanwhile, until the end of the transaction.
SELECT pg_advisory_xact_lock(7018331104228)

-- name: take_part
-- Keep outcomes unchanged until the end of the transaction; others may do the same.
SELECT pg_advisory_xact_lock_shared(7018331104228)

-- name: end_of_slice
-- The hour that ends a run of whole hours with about %(rows)s rows; no row: it is the last run.
SELECT "windowId" FROM market_outcomes
WHERE "windowId" > (SELECT "windowId" FROM market_outcomes
                    WHERE "windowId" >= %(since)s AND "windowId" < '9999'
                    ORDER BY "windowId" OFFSET %(rows)s LIMIT 1)
  AND "windowId" < '9999'
ORDER BY "windowId"
LIMIT 1

-- name: copy
-- Update our rows of some hours from Babylon's; returns those that differed.
-- An hour's newest row counts; rows without an outcome are ignored, as are names that no bet has
-- and no index takes.
WITH recorded AS MATERIALIZED (
    SELECT DISTINCT ON (kind, name, window_id) kind, name, window_id, yes, change
    FROM (
        SELECT 'market' AS kind, "predictionMarketId" AS name, "windowId" AS window_id,
               {{outcomes.yes}} AS yes,
               NULL::float8 AS change, "createdAt" AS made_at, id
        FROM market_outcomes
        WHERE "windowId" >= %(since)s AND "windowId" < %(until)s
          AND "predictionMarketId" <> '' AND btrim(outcome, E' \t\r\n') <> ''
          AND length("predictionMarketId") <= %(longest)s
        UNION ALL
        SELECT 'stock', "stockTicker", "windowId", NULL, moved.change, "createdAt", id
        FROM market_outcomes
        CROSS JOIN LATERAL (
            SELECT {{outcomes.change}} AS change) AS moved
        WHERE "windowId" >= %(since)s AND "windowId" < %(until)s
          AND "stockTicker" <> '' AND moved.change <> 'NaN' AND length("stockTicker") <= %(longest)s
    ) AS endings
    ORDER BY kind, name, window_id, made_at DESC, id DESC
), kept AS (
    SELECT * FROM training.outcomes
    WHERE left(window_id, 10) >= left(%(since)s, 10) AND left(window_id, 10) <= left(%(until)s, 10)
      AND window_id >= %(since)s AND window_id < %(until)s
), missing AS MATERIALIZED (  -- first: else each row that is kept may be looked up once more
    SELECT kind, name, window_id FROM kept
    EXCEPT ALL
    SELECT kind, name, window_id FROM recorded
), gone AS (
    DELETE FROM training.outcomes o
    USING missing m
    WHERE o.kind = m.kind AND o.name = m.name AND o.window_id = m.window_id
    RETURNING o.kind, o.name, o.window_id
), written AS (
    INSERT INTO training.outcomes (kind, name, window_id, yes, change)
    SELECT s.kind, s.name, s.window_id, s.yes, s.change
    FROM recorded s
    LEFT JOIN kept k USING (kind, name, window_id)
    WHERE k.name IS NULL OR k.yes IS DISTINCT FROM s.yes OR k.change IS DISTINCT FROM s.change
    ON CONFLICT (kind, name, window_id) DO UPDATE
    SET yes = excluded.yes, change = excluded.change, changed_at = now()
    RETURNING kind, name, window_id
)
SELECT * FROM gone UNION ALL SELECT * FROM written

-- name: of_markets_in_babylon
-- How prediction markets ended, before anything was copied: the latest outcome of each.
SELECT name, yes FROM (
    SELECT DISTINCT ON (name) "predictionMarketId" AS name,
           {{outcomes.yes}} AS yes
    FROM market_outcomes
    WHERE "windowId" >= %(window)s AND "windowId" < '9999'
      AND "predictionMarketId" = ANY (%(markets)s) AND btrim(outcome, E' \t\r\n') <> ''
    ORDER BY name, "windowId" DESC, "createdAt" DESC, id DESC
) AS latest
WHERE yes IS NOT NULL

-- name: of_stocks_in_babylon
-- How prices moved, before anything was copied: each ticker's earliest window from this one on, its newest row.
SELECT DISTINCT ON ("stockTicker") "stockTicker", moved.change
FROM market_outcomes
CROSS JOIN LATERAL (
    SELECT {{outcomes.change}} AS change) AS moved
WHERE "windowId" >= %(window)s AND "windowId" < '9999'
  AND "stockTicker" = ANY (%(tickers)s) AND moved.change <> 'NaN'
ORDER BY "stockTicker", "windowId", "createdAt" DESC, id DESC

-- name: not_understood
-- Values in Babylon's outcomes that mean neither YES nor NO, the most frequent first.
SELECT left(btrim(outcome, E' \t\r\n'), 40), count(*) FROM market_outcomes
WHERE ("windowId" >= %(since)s OR %(since)s::text IS NULL) AND "predictionMarketId" <> ''
  AND lower(btrim(outcome, E' \t\r\n')) <> ALL (%(yes)s::text[] || %(no)s::text[] || ARRAY[''])
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(limit)s

-- name: settle
-- Record that a prediction market has ended.
INSERT INTO market_outcomes (id, "windowId", "predictionMarketId", question, outcome, "finalProbability")
VALUES (gen_random_uuid()::text, %(window)s, %(market)s, %(question)s, %(outcome)s, %(probability)s)
