/** Window ids: one UTC hour, `YYYY-MM-DDTHH:00`, half-open `[start, start + 1 h)`. */

const SHAPE = /^\d{4}-\d{2}-\d{2}T\d{2}:00$/;
const HOUR_MS = 3_600_000;

/** Return the id of the window that contains `moment`; throws RangeError for no real moment. */
export function windowId(moment: Date): string {
  const id = `${moment.toISOString().slice(0, 13)}:00`;
  if (!SHAPE.test(id)) {
    throw new RangeError(`${moment.toISOString()} is outside the years that have window ids`);
  }
  return id;
}

/** Return the start of a window; throws RangeError for what is no window id. */
export function windowStart(window: string): Date {
  if (!SHAPE.test(window)) {
    throw new RangeError(
      `${JSON.stringify(window)} is not a window id; write it as 2026-01-31T09:00 (UTC hour)`,
    );
  }
  const start = new Date(`${window}:00Z`);
  // Date takes February 30 and hour 24, and moves them on.
  if (Number.isNaN(start.getTime()) || window.startsWith("0000") || windowId(start) !== window) {
    throw new RangeError(`${JSON.stringify(window)} is not a real hour`);
  }
  return start;
}

/** Return the end (exclusive) of a window; throws RangeError. */
export function windowEnd(window: string): Date {
  return new Date(windowStart(window).getTime() + HOUR_MS);
}
