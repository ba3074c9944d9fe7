"""The table of a play, one line as each window is finished, and what is done now below it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.text import Text

from babylon_tasks.cli.output import cell, cut, err, say, show
from babylon_tasks.decisions import Decision

if TYPE_CHECKING:
    from babylon_tasks.db.progress import WindowProgress
    from babylon_tasks.sandbox.agents import AnswerCounts

# Name and width: lines are printed as windows finish, so a long run scrolls like a log.
COLUMNS = {
    "window": 16,
    "valid": 5,
    "right": 5,
    "profit": 6,
    "step": 12,
    "loss": 6,
    "value": 5,
    "serves": 10,
}


class DemoRows:
    """The lines, in a terminal that scrolls."""

    def __init__(self) -> None:
        self.tallies: list[AnswerCounts] = []
        self._now = err.status("")

    def stage(self, text: str) -> None:
        """Show what is done now below the table, on a terminal."""
        if err.is_terminal:
            self._now.update(Text(text))
            self._now.start()

    def end_stage(self) -> None:
        """Remove that line; the terminal is as it was."""
        self._now.stop()

    def window(self, done: WindowProgress, tally: AnswerCounts) -> None:
        """Print a finished window."""
        self.end_stage()
        if not self.tallies:
            say(
                f"each window: {tally.n} decisions of {done.agents} agents; step: its number, or "
                "why there is none; value: on held-out groups"
            )
            show(line(COLUMNS))
        self.tallies.append(tally)
        show(line(cell(value) for value in row(done, tally)))


def line(cells: Iterable[str]) -> str:
    """Fit cells to the columns."""
    widths = COLUMNS.values()
    fitted = (cut(text, width).ljust(width) for text, width in zip(cells, widths, strict=True))
    return "  ".join(fitted).rstrip()


def row(done: WindowProgress, tally: AnswerCounts) -> tuple[Any, ...]:
    """List what a finished window has in each column."""
    step = done.step if done.step is not None else done.reason or str(done.state)
    serves = f"@{done.serving_step}" + (" (held)" if done.decision == Decision.HOLD else "")
    return (
        *(done.window, f"{tally.valid / tally.n:.0%}", f"{tally.right / tally.n:.0%}"),
        *(None if done.profit_mean is None else f"{done.profit_mean:.2f}", step),
        *(_short(done.loss), _short(done.evaluation), serves),
    )


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
