"""Hours that are held out out of turn, so that the gate's set lives in the present. Pure.

Hours are drawn by hash. After the world has turned over, every step may be refused on hours of the
world before until the draw has come to new ones. So where the newest checkpoints were refused in a
row, hours that are opened next are held out whatever their hash.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime

from msgspec import Struct

from babylon_tasks.windows import WINDOW, is_held_out, moved, window_id, window_start

NEWEST_HOURS = 2  # that count most in an evaluation, and that a row of refusals may ask for
IN_A_ROW = 2  # refusals: of equal candidates one in ten is refused, so chance makes these 1 in 100
_LONGEST_ROW = 5  # the next refusal begins a row of its own
_MOST = 2 * NEWEST_HOURS  # hours of a row, whatever they are worth


class RefusedRow(Struct, frozen=True):
    """Checkpoints that were refused in a row on held-out hours.

    ``newest`` is the newest hour that was open at the first of these refusals (None: there was
    none), ``held_out`` are the held-out hours from it on. ``useful`` are those after it that have
    spread (on others no two policies differ), and, of an earlier row's too, those whose rewards are
    not known yet.
    """

    refused: int
    newest: str | None
    held_out: Set[str]
    useful: Set[str]

    @property
    def asks(self) -> bool:
        """Whether hours are still to be held out out of turn."""
        return len(self.useful) < NEWEST_HOURS and len(self.held_out - {self.newest}) < _MOST


def current_row(refused_at: Sequence[datetime]) -> list[datetime]:
    """Return the refusals of the row that asks for hours, the oldest first; empty: none does.

    ``refused_at``: when each checkpoint was refused since the last one was promoted or rolled back.
    """
    begun = max(0, len(refused_at) - 1) // _LONGEST_ROW * _LONGEST_ROW
    row = [*refused_at[begun:]]
    return row if len(row) >= IN_A_ROW else []


def may_be_out_of_turn(window: str, row: RefusedRow) -> bool:
    """Check whether a window may be held out out of turn: hours are asked for, and it is new.

    New are hours after those that were known at the first refusal.
    """
    return row.asks and (row.newest is None or window > row.newest)


def why_out_of_turn(window: str, row: RefusedRow, lineage: str, share: float) -> str | None:
    """Say why a window that is not drawn by hash is held out all the same; None: it is not.

    Between two there is one to learn from, unless the draw says otherwise.
    """
    if not may_be_out_of_turn(window, row):
        return None
    start = window_start(window)
    if window_id(moved(start, -WINDOW)) in row.held_out:
        return None
    if is_held_out(window_id(moved(start, WINDOW)), lineage, share):
        return None
    return (
        f"out of turn: {row.refused} checkpoints in a row were refused on held-out hours, and of "
        f"{NEWEST_HOURS} with spread there are {len(row.useful)} since the first refusal"
    )
