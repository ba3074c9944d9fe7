-- name: of_markets
-- How prediction markets ended: the latest word on each, in this window or a later one.
SELECT DISTINCT ON ("predictionMarketId") "predictionMarketId", upper(outcome) = 'YES'
FROM market_outcomes
WHERE "windowId" BETWEEN %(window)s AND '9999'
  AND "predictionMarketId" = ANY (%(markets)s)
  AND upper(outcome) IN ('YES', 'NO')
ORDER BY "predictionMarketId", "windowId" DESC, "createdAt" DESC

-- name: of_stocks
-- How prices moved: each ticker's earliest window from this one on, and there its newest row.
SELECT ticker, change FROM (
    SELECT DISTINCT ON ("stockTicker") "stockTicker" AS ticker,
           coalesce("changePercent",
                    ("endPrice" - "startPrice") / nullif("startPrice", 0) * 100)::float8 AS change
    FROM market_outcomes
    WHERE "windowId" BETWEEN %(window)s AND '9999'
      AND "stockTicker" = ANY (%(tickers)s)
      AND coalesce("changePercent", "endPrice" - "startPrice") IS NOT NULL
    ORDER BY "stockTicker", "windowId", "createdAt" DESC
) AS moves
WHERE change IS NOT NULL AND change <> 'NaN'

-- name: settle
-- A prediction market has ended.
INSERT INTO market_outcomes (id, "windowId", "predictionMarketId", question, outcome, "finalProbability")
VALUES (gen_random_uuid()::text, %(window)s, %(market)s, %(question)s, %(outcome)s, %(probability)s)
