"""A run's history as curves, in SVG: for wide and narrow screens, light and dark. Pure.

Nothing that others wrote is in them: reasons that this version does not know are named in the page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.ticker import MaxNLocator, PercentFormatter

from babylon_tasks.cli.picture_panels import band, draw_panels, line, times
from babylon_tasks.cli.picture_style import LIGHT, WIDE, ScreenSize, Theme
from babylon_tasks.reasons import Reason
from babylon_tasks.run_history import OTHERS, RunHistory, RunMark, RunMarkKind
from babylon_tasks.windows import WINDOW

_KINDS = tuple(RunMarkKind)
_OURS = frozenset({*Reason, OTHERS})


def draw(history: RunHistory, theme: Theme = LIGHT, screen: ScreenSize = WIDE) -> str:
    """Draw what there is of it, one panel below the other, as SVG: equal histories, equal text."""
    panels = [
        panel
        for panel in (
            _rewards, _right, _held_out, _answers, _decisions, _rejections, _backlog, _age,
        )
        if _has(panel, history)
    ]  # fmt: skip
    backs = _points(history, (one for one in history.marks if one.kind is RunMarkKind.ROLLED_BACK))
    return draw_panels(
        [partial(panel, history=history, theme=theme) for panel in panels],
        theme,
        screen,
        below=_below(backs),
        across={theme.bad: backs},
    )


def _has(panel: Callable[..., str], history: RunHistory) -> bool:
    """Check whether a panel has something to show; that of rewards is always there."""
    if panel is _right:
        return any(one.right is not None for one in history.points)
    found = {_held_out: history.held_out, _answers: history.screens, _decisions: history.marks,
             _rejections: history.reasons, _backlog: _known(one.backlog for one in history.points),
             _age: _known(one.hours for one in history.points)}  # fmt: skip
    return bool(found.get(panel, True))


def _rewards(axes: Axes, history: RunHistory, theme: Theme) -> str:
    at, found = _at(history), [one.reward for one in history.points]
    means = [None if one is None else one.mean for one in found]
    line(axes, at, means, "mean", theme.lines[0])
    reach = [None if one is None else (one.mean, one.deviation) for one in found]
    band(axes, at, reach, theme.lines[0])
    axes.set_ylim(-0.02, 1.02)
    return f"Reward by window, with its standard deviation{_each(history)}"


def _right(axes: Axes, history: RunHistory, theme: Theme) -> str:
    found = [one.right for one in history.points]
    line(axes, _at(history), found, "right", theme.lines[0])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(y=0.1)
    return f"Right ones of the bets whose outcome is known{_each(history)}"


def _held_out(axes: Axes, history: RunHistory, theme: Theme) -> str:
    at = times(one.window for one in history.held_out)
    for name, values, colour in (
        ("new checkpoint", [one.value for one in history.held_out], theme.lines[0]),
        ("what served", [one.serving for one in history.held_out], theme.lines[1]),
        ("base model", [one.base for one in history.held_out], theme.lines[3]),
    ):
        _if_any(axes, at, values, name, colour)
    axes.margins(y=0.1)
    return "Value on held-out groups, the same ones for all at a time"


def _answers(axes: Axes, history: RunHistory, theme: Theme) -> str:
    at = times(one.window for one in history.screens)
    for name, values, colour in (
        ("valid, new", [one.valid for one in history.screens], theme.lines[0]),
        ("valid, compared", [one.valid_other for one in history.screens], theme.lines[1]),
        ("right, new", [one.right for one in history.screens], theme.lines[2]),
        ("right, compared", [one.right_other for one in history.screens], theme.lines[3]),
    ):
        _if_any(axes, at, values, name, colour)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(y=0.1)
    return "Answers to held-out questions, in screens"


def _decisions(axes: Axes, history: RunHistory, theme: Theme) -> str:
    """Draw a row of dots for each kind."""
    colours = (theme.good, theme.bad, theme.lines[3], theme.bad, theme.lines[0])
    shapes = ("^", "x", ".", "v", "d")
    for place, (kind, colour, shape) in enumerate(zip(_KINDS, colours, shapes, strict=True)):
        found = _points(history, (one for one in history.marks if one.kind is kind))
        if found:
            axes.plot(times(found), [place] * len(found), shape, color=colour, label=kind.value)
    axes.set_yticks([])
    axes.set_ylim(len(_KINDS) - 0.5, -0.5)
    return "What was decided, at the newest window in training then"


def _rejections(axes: Axes, history: RunHistory, theme: Theme) -> str:
    at = _at(history)
    edges = [*at, _end(at, history)]
    colours = (*theme.lines, theme.good, theme.bad)
    below = [0] * len(at)
    for place, (name, colour) in enumerate(zip(history.reasons, colours, strict=False)):
        above = [low + one.rejected[place] for low, one in zip(below, history.points, strict=True)]
        label = name if name in _OURS else "another"
        axes.stairs(
            above,
            [float(date2num(one)) for one in edges],
            baseline=below,
            fill=True,
            color=colour,
            linewidth=0,
            label=label.replace("_", " "),
        )
        below = above
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.set_ylim(bottom=0)
    of = "" if history.together == 1 else f" in {history.together} windows"
    return f"Trajectories that are not used{of}, by reason"


def _backlog(axes: Axes, history: RunHistory, theme: Theme) -> str:
    found = [one.backlog for one in history.points]
    line(axes, _at(history), found, "windows", theme.lines[0])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.set_ylim(bottom=0)
    return f"Backlog when a window was sealed{_most(history)}"


def _age(axes: Axes, history: RunHistory, theme: Theme) -> str:
    found = [one.hours for one in history.points]
    line(axes, _at(history), found, "hours", theme.lines[1])
    axes.set_ylim(bottom=0)
    return f"Hours from a window's seal until it was done{_most(history)}"


def _known(found: Iterable[float | None]) -> bool:
    return any(one is not None for one in found)


def _most(history: RunHistory) -> str:
    return "" if history.together == 1 else f", the most of {history.together}"


def _points(history: RunHistory, marks: Iterable[RunMark]) -> list[str]:
    """List the points that marks belong to, each once: more dots than points hide each other."""
    starts = [one.window for one in history.points]
    found = {bisect_right(starts, one.window or history.first) - 1 for one in marks}
    return [starts[place] for place in sorted(found)]


def _end(at: Sequence[datetime], history: RunHistory) -> datetime:
    """Return where the last point ends."""
    return at[-1] + max(WINDOW, timedelta(hours=history.together))


def _if_any(
    axes: Axes, at: Sequence[datetime], values: Sequence[float | None], name: str, colour: str
) -> None:
    if any(one is not None for one in values):
        line(axes, at, values, name, colour)


def _at(history: RunHistory) -> list[datetime]:
    return times(one.window for one in history.points)


def _each(history: RunHistory) -> str:
    return "" if history.together == 1 else f": {history.together} windows a point"


def _below(backs: Sequence[str]) -> str:
    return "Windows, UTC; a line across: rolled back" if backs else "Windows, UTC"
