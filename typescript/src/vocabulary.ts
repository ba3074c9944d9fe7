/** Which actions are trades and which are posts: the counts in a trajectory's row. */

// Exact, in any case, never by substring: as babylon_tasks/vocabulary.py, which a test compares.
const TRADES = new Set([
  "trading_decision", "trade", "buy_shares", "buy_prediction_shares", "open_perp_position",
  "sell_shares", "sell_prediction_shares", "close_perp_position", "close_position",
  "buy_yes", "buy_no", "sell_yes", "sell_no", "open_long", "open_short",
]);
const POSTS = new Set(["create_post", "post"]);

/** Check whether an `actionType` trades, a hold included: the live recorders write it so. */
export function isTrade(actionType: string): boolean {
  return TRADES.has(actionType.trim().toLowerCase());
}

/** Check whether an `actionType` publishes a post; comments and reposts are none. */
export function isPost(actionType: string): boolean {
  return POSTS.has(actionType.trim().toLowerCase());
}
