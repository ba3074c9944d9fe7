"""A comparison's history as curves, in SVG: for wide and narrow screens, light and dark. Pure.

Nothing that others wrote is in them: names and reasons stand in the page (``comparison_page``).
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import matplotlib
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from babylon_tasks.cli.picture_style import LIGHT, WIDE, ScreenSize, Theme, style
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.history import ArmDifference, ComparisonHistory, Mark
from babylon_tasks.windows import window_start

_UNITS = 72  # of an SVG, an inch
_LOWEST, _HIGHEST = 1e-3, 1e6  # e-values beyond are drawn there
_FEW = 60  # points that are seen one by one
_NUMBERED = 24  # marks: more numbers would hide each other
_NOTHING = float("nan")
_GOOD = frozenset({"proven", "proven_gain", "rise"})
_BAD = frozenset({"rollback", "rollback_and_pause", "to_floor", "withdraw"})


def draw(history: ComparisonHistory, theme: Theme = LIGHT, screen: ScreenSize = WIDE) -> str:
    """Draw what there is of it, one panel below the other, as SVG: equal histories, equal text."""
    panels = [_differences, _harm, _trial, _shares, _loss]
    panels = [panel for panel in panels if _has(panel, history)]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever this machine's matplotlibrc says
        matplotlib.rcParams.update(style(theme, screen))
        size = (screen.width / _UNITS, (len(panels) * screen.panel + 30) / _UNITS)
        figure = Figure(figsize=size, layout="constrained")
        axes: list[Axes] = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
        for one, panel in zip(axes, panels, strict=True):
            _title(one, panel(one, history, theme), screen)
            _mark(one, history.marks, theme)
        _number(axes[0], history.marks)
        locator = AutoDateLocator(tz=UTC, minticks=2, maxticks=screen.ticks)
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
        # Below the date, which stands to the right.
        axes[-1].set_xlabel(f"\n{textwrap.fill(_below(history), screen.words)}", loc="left")
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


_Panel = Callable[[Axes, ComparisonHistory, Theme], str]


def _has(panel: _Panel, history: ComparisonHistory) -> bool:
    """Check whether a panel has something to show."""
    if panel is _trial:
        return any(one.trial is not None for one in history.points)
    if panel is _shares:
        return any(one.shares is not None for one in history.points)
    return panel is not _loss or history.budget is not None


def _differences(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    points, times = history.points, _times(history)
    curves = {
        "what serves": [one.serving for one in points],
        "examinee": [one.examinee for one in points],
    }
    for (name, curve), colour in zip(curves.items(), theme.lines, strict=False):
        if any(one is not None for one in curve):
            _with_error(axes, times, curve, name, colour)
    bound = [one.bound for one in points]
    if any(one is not None for one in bound):
        _line(axes, times, bound, "average, at least", theme.lines[2])
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    _limit(axes, -history.margin, f"{history.margin:g} below", theme)
    axes.margins(y=0.1)
    return f"Reward less the anchor's, with its error{_each(history, 'mean')}"


def _with_error(
    axes: Axes,
    times: Sequence[datetime],
    curve: Sequence[ArmDifference | None],
    name: str,
    colour: str,
) -> None:
    _line(axes, times, [None if one is None else one.value for one in curve], name, colour)
    low = [_NOTHING if one is None else one.value - one.deviation for one in curve]
    high = [_NOTHING if one is None else one.value + one.deviation for one in curve]
    axes.fill_between(list(times), low, high, color=colour, alpha=0.2, linewidth=0)


def _harm(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    times = _times(history)
    styles = zip(history.detectors, (*theme.lines[1:], theme.good), strict=False)
    for place, (name, colour) in enumerate(styles):
        values = [one.detectors[place] for one in history.points]
        axes.plot(list(times), values, label=name, color=colour, linewidth=0.9)
    _line(axes, times, [one.harm for one in history.points], "their mean", theme.lines[0])
    _limit(axes, history.run_length, f"harm at {history.run_length:,.0f}", theme)
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
        _line(axes, _times(history), values, name, colour)
    _limit(axes, history.needed, f"needed: {history.needed:g}", theme)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_plain_numbers())
    return f"E-values of the trial{_each(history, 'highest')}"


def _shares(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    shares = [one.shares for one in history.points]
    curves = zip(("serving", "control", "examinee"), theme.lines, strict=False)
    for name, colour in curves:
        values = [_NOTHING if one is None else float(getattr(one, name)) for one in shares]
        if any(value > 0 for value in values):
            times = list(_times(history))
            axes.plot(times, values, label=name, color=colour, drawstyle="steps-post")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return "Shares of the arms"


def _loss(axes: Axes, history: ComparisonHistory, theme: Theme) -> str:
    loss = [one.loss for one in history.points]
    _line(axes, _times(history), loss, "per agent so far", theme.lines[0])
    assert history.budget is not None  # noqa: S101  # `_has` looked
    _limit(axes, history.budget, f"withdrawn at {history.budget:g}", theme)
    axes.margins(y=0.1)
    return "What the ramp has cost"


def _line(
    axes: Axes,
    times: Sequence[datetime],
    values: Iterable[float | None],
    name: str,
    colour: str,
) -> None:
    marker = "." if len(times) <= _FEW else ""
    seen = [_NOTHING if value is None else value for value in values]
    axes.plot(list(times), seen, label=name, color=colour, marker=marker)


def _limit(axes: Axes, value: float, name: str, theme: Theme) -> None:
    axes.axhline(value, color=theme.bad, linestyle="--", linewidth=1, label=name)


def _title(axes: Axes, text: str, screen: ScreenSize) -> None:
    """Above the panel, with what its lines are."""
    axes.legend(
        title=textwrap.fill(text, screen.words),
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        borderpad=0.2,
        ncols=screen.columns,
    )


def _mark(axes: Axes, marks: Sequence[Mark], theme: Theme) -> None:
    """Draw a line across for each mark: one path for all of a colour."""
    by_colour: dict[str, list[float]] = {}
    for one in marks:
        when = date2num(window_start(one.window))
        by_colour.setdefault(_colour(one, theme), []).extend((when, when, _NOTHING))
    for colour, times in by_colour.items():
        heights = [0, 1, _NOTHING] * (len(times) // 3)
        across = axes.get_xaxis_transform()
        axes.plot(times, heights, transform=across, color=colour, linewidth=1, alpha=0.7)


def _number(axes: Axes, marks: Sequence[Mark]) -> None:
    if len(marks) > _NUMBERED:
        return
    for one in marks:
        axes.annotate(
            str(one.number),
            (date2num(window_start(one.window)), 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(2, 0),
            textcoords="offset points",
            va="top",
            annotation_clip=False,
        )


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


def _times(history: ComparisonHistory) -> list[datetime]:
    return [window_start(one.window) for one in history.points]


def _each(history: ComparisonHistory, how: str) -> str:
    return "" if history.together == 1 else f": {how} of {history.together} windows"


def _plain_numbers() -> FuncFormatter:
    """Not as powers of ten, which are formulas."""
    return FuncFormatter(lambda value, _: f"{value:,.6g}")


def _bounded(value: float) -> float:
    return min(_HIGHEST, max(_LOWEST, value))
