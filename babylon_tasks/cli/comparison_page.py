"""A comparison as one HTML file: its picture, and what was concluded in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from babylon_tasks.cli.comparison_curves import draw
from babylon_tasks.cli.html_page import document, paragraphs, picture, table, text
from babylon_tasks.comparison.history import ComparisonHistory, Mark
from babylon_tasks.counted import counted


def page(title: str, lines: Iterable[str], history: ComparisonHistory) -> str:
    """Write the page; ``lines``: where the comparison stands."""
    alt = f"Curves of {counted(history.windows, 'window')}; what they led to is listed below"
    drawn = picture(lambda screen: draw(history, screen=screen), alt)
    return document(title, [*paragraphs(lines), drawn, *concluded(history.marks)])


def concluded(marks: Sequence[Mark]) -> list[str]:
    """Write what windows led to."""
    if not marks:
        return ["<p>Nothing has been concluded yet.</p>"]
    return table(("", "window", "why, what was done"), map(_row, marks))


def _row(mark: Mark) -> tuple[str, ...]:
    words = f"{mark.why}: {mark.done}" if mark.done else mark.why
    cells = (str(mark.number), f"{mark.window} {mark.conclusion}", words)
    return tuple(map(text, cells))
