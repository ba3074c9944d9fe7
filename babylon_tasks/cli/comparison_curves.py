"""A comparison's history as curves, in SVG: for wide and narrow screens, light and dark. Pure.

Nothing that others wrote is in them: names and reasons stand in the page (``comparison_page``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from babylon_tasks.cli.picture_panels import NOTHING, band, draw_panels, limit, line, times
from babylon_tasks.cli.picture_style import LIGHT, WIDE, ScreenSize, Theme
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.history import ComparisonHistory, Mark

_LOWEST, _HIGHEST = 1e-3, 1e6  # e-values beyond are drawn there
_NUMBERED = 24  # marks: more numbers would hide each other
_GOOD = frozenset({"proven", "proven_gain", "rise"})
_BAD = frozenset({"rollback", "rollback_and_pause", "to_floor", "withdraw"})


def draw(history: ComparisonHistory, theme: Theme = LIGHT, screen: ScreenSize = WIDE) -> str:
    """Draw what there is of it, one panel below the other, as SVG: equal histories, equal text."""
    panels = [_differences, _harm, _trial, _shares, _loss]
    across: dict[str, list[str]] = {}
    for one in history.marks:
        across.setdefault(_colour(one, theme), []).append(one.window)
    few = history.marks if len(history.marks) <= _NUMBERED else []
    return draw_panels(
        [partial(one, history=history, theme=theme) for one in panels if _has(one, history)],
        theme,
        screen,
        below=_below(history),
        across=across,
        numbered={one.number: one.window for one in few},
    )


_Panel = Callable[[Axes, ComparisonHistory, Theme], str]


def _has(panel: _Panel, history: ComparisonHistory) -> bool:
    """Check whether a panel has something to show."""
    if panel is _trial:
        return any(one.trial is not None for one in history.points)
    if panel is _shares:
        return any(one.shares is not None for one in history.points)
    return panel is not _loss or history.budget is not None


def _differences(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    points, at = history.points, _at(history)
    curves = {
        "what serves": [one.serving for one in points],
        "examinee": [one.examinee for one in points],
    }
    for (name, curve), colour in zip(curves.items(), theme.lines, strict=False):
        if any(one is not None for one in curve):
            values = [None if one is None else one.value for one in curve]
            reach = [None if one is None else (one.value, one.deviation) for one in curve]
            line(axes, at, values, name, colour)
            band(axes, at, reach, colour)
    bound = [one.bound for one in points]
    if any(one is not None for one in bound):
        line(axes, at, bound, "average, at least", theme.lines[2])
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    limit(axes, -history.margin, f"{history.margin:g} below", theme)
    axes.margins(y=0.1)
    return f"Reward less the anchor's, with its error{_each(history, 'mean')}"


def _harm(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    at = _at(history)
    styles = zip(history.detectors, (*theme.lines[1:], theme.good), strict=False)
    for place, (name, colour) in enumerate(styles):
        values = [one.detectors[place] for one in history.points]
        axes.plot(at, values, label=name, color=colour, linewidth=0.9)
    line(axes, at, [one.harm for one in history.points], "their mean", theme.lines[0])
    limit(axes, history.run_length, f"harm at {history.run_length:,.0f}", theme)
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(_plain_numbers())
    axes.set_ylim(bottom=0, top=max(history.run_length * 3, axes.get_ylim()[1]))
    return f"Detectors of harm, in windows{_each(history, 'highest')}"


def _trial(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    trials = [one.trial for one in history.points]
    names = ("not worse", "better", "worse")
    curves = zip(names, ("margin", "gain", "worse"), theme.lines, strict=False)
    for name, field, colour in curves:
        values = [None if one is None else _bounded(getattr(one, field)) for one in trials]
        line(axes, _at(history), values, name, colour)
    limit(axes, history.needed, f"needed: {history.needed:g}", theme)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_plain_numbers())
    return f"E-values of the trial{_each(history, 'highest')}"


def _shares(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    shares = [one.shares for one in history.points]
    curves = zip(("serving", "control", "examinee"), theme.lines, strict=False)
    for name, colour in curves:
        values = [NOTHING if one is None else float(getattr(one, name)) for one in shares]
        if any(value > 0 for value in values):
            axes.plot(_at(history), values, label=name, color=colour, drawstyle="steps-post")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return "Shares of the arms"


def _loss(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    loss = [one.loss for one in history.points]
    line(axes, _at(history), loss, "per agent so far", theme.lines[0])
    assert history.budget is not None  # noqa: S101  # `_has` looked
    limit(axes, history.budget, f"withdrawn at {history.budget:g}", theme)
    axes.margins(y=0.1)
    return "What the ramp has cost"


def _colour(mark: Mark, theme: Theme) -> str:
    if mark.conclusion in _GOOD:
        return theme.good
    return theme.bad if mark.conclusion in _BAD else theme.lines[3]


def _below(history: ComparisonHistory) -> str:
    marks = history.marks
    if len(marks) > _NUMBERED:
        return f"UTC; {len(marks)} conclusions"
    known = frozenset(Conclusion)
    names = (one.conclusion if one.conclusion in known else "another" for one in marks)
    return "; ".join(["UTC", *(f"{n} {name}" for n, name in enumerate(names, 1))])


def _at(history: ComparisonHistory) -> list[datetime]:
    return times(one.window for one in history.points)


def _each(history: ComparisonHistory, how: str) -> str:
    return "" if history.together == 1 else f": {how} of {history.together} windows"


def _plain_numbers() -> FuncFormatter:
    """Not as powers of ten, which are formulas."""
    return FuncFormatter(lambda value, _: f"{value:,.6g}")


def _bounded(value: float) -> float:
    return min(_HIGHEST, max(_LOWEST, value))
