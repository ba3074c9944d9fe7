"""A run as one HTML file: its curves, what was decided and why, and its newest windows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from babylon_tasks.cli.html_page import document, paragraphs, picture, table, text
from babylon_tasks.cli.report_curves import draw
from babylon_tasks.run_history import RunHistory, RunMark
from babylon_tasks.run_records import RunWindow

_MARKS = 20  # in the table; the picture has all
_WINDOWS = 24


def page(
    title: str, lines: Iterable[str], history: RunHistory, windows: Sequence[RunWindow]
) -> str:
    """Write the page; ``lines``: where the lineage stands, ``windows``: in the order of time."""
    alt = f"Curves of {history.windows} windows; what was decided is listed below"
    drawn = picture(lambda theme, screen: draw(history, theme, screen), alt)
    return document(
        title,
        [
            *paragraphs(lines),
            drawn,
            '<h2 id="decisions">What was decided</h2>',
            *_decided(history.marks),
            '<h2 id="windows">The newest windows</h2>',
            *_windows(windows),
            '<h2 id="rejections">Trajectories that are not used</h2>',
            *_rejected(history),
        ],
    )


def _decided(marks: Sequence[RunMark]) -> list[str]:
    if not marks:
        return ["<p>Nothing has been decided yet.</p>"]
    newest = marks[::-1][:_MARKS]
    return [
        *table(("window", "what, why"), map(_mark, newest)),
        *_more(len(marks) - len(newest), "earlier ones are in the picture alone"),
    ]


def _mark(mark: RunMark) -> tuple[str, str]:
    when = "" if mark.when is None else f" ({mark.when:%F %T})"
    what = mark.kind if mark.step is None else f"{mark.kind}: step {mark.step}"
    return text(mark.window or "before any"), f"{text(what + when)}<br>{text(mark.why)}"


def _windows(windows: Sequence[RunWindow]) -> list[str]:
    newest = windows[::-1][:_WINDOWS]
    return [
        *table(("window", "reward", "right", "scored of", "state, why"), map(_window, newest)),
        *_more(len(windows) - len(newest), "earlier ones: `babylon-tasks windows list`"),
    ]


def _window(window: RunWindow) -> tuple[str, ...]:
    state = window.state if window.reason is None else f"{window.state}: {window.reason}"
    reward, right = window.reward_mean, window.right_share
    cells = (
        window.window,
        "-" if reward is None else f"{reward:.2f}",
        "-" if right is None else f"{right:.0%}",
        f"{_number(window.scored)} of {_number(window.trajectories)}",
        state,
    )
    return tuple(map(text, cells))


def _rejected(history: RunHistory) -> list[str]:
    if not history.rejected:
        return ["<p>All were scored, and none was refused.</p>"]
    rows = ((str(count), text(reason)) for reason, count in history.rejected.items())
    return table(("how many", "reason"), rows)


def _more(number: int, what: str) -> list[str]:
    return [f"<p>And {number} more: {text(what)}.</p>"] if number > 0 else []


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)
