"""Panels below each other over one axis of windows, as SVG, and what they are made of. Pure."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import matplotlib
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from babylon_tasks.cli.picture_style import ScreenSize, Theme, style
from babylon_tasks.windows import window_start

NOTHING = float("nan")
_UNITS = 72  # of an SVG, an inch
_FEW = 60  # points that are seen one by one

Panel = Callable[[Axes], str]  # draws, and returns the title


def draw_panels(
    panels: Sequence[Panel],
    theme: Theme,
    screen: ScreenSize,
    *,
    below: str,
    across: Mapping[str, Sequence[str]],
    numbered: Mapping[int, str] | None = None,
) -> str:
    """Draw panels as SVG: what is equal gives equal text.

    ``across``: windows that get a line across all panels, by its colour. ``numbered``: windows by
    a number that stands at their line.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever this machine's matplotlibrc says
        matplotlib.rcParams.update(style(theme, screen))
        size = (screen.width / _UNITS, (len(panels) * screen.panel + 30) / _UNITS)
        figure = Figure(figsize=size, layout="constrained")
        axes: list[Axes] = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
        for one, panel in zip(axes, panels, strict=True):
            _title(one, panel(one), screen)
            _lines_across(one, across)
        _numbers(axes[0], numbered or {})
        locator = AutoDateLocator(tz=UTC, minticks=2, maxticks=screen.ticks)
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
        # Below the date, which stands to the right.
        axes[-1].set_xlabel(f"\n{textwrap.fill(below, screen.words)}", loc="left")
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def times(windows: Iterable[str]) -> list[datetime]:
    """Return where windows lie on the axis."""
    return [window_start(one) for one in windows]


def line(
    axes: Axes, at: Sequence[datetime], values: Iterable[float | None], name: str, colour: str
) -> None:
    """Draw a curve, with its points where they are few."""
    marker = "." if len(at) <= _FEW else ""
    seen = [NOTHING if value is None else value for value in values]
    axes.plot(list(at), seen, label=name, color=colour, marker=marker)


def band(
    axes: Axes,
    at: Sequence[datetime],
    values: Iterable[tuple[float, float] | None],
    colour: str,
) -> None:
    """Fill what lies around values: each with how far to both sides."""
    found = [(NOTHING, NOTHING) if one is None else one for one in values]
    low = [value - reach for value, reach in found]
    high = [value + reach for value, reach in found]
    axes.fill_between(list(at), low, high, color=colour, alpha=0.2, linewidth=0)


def limit(axes: Axes, value: float, name: str, theme: Theme) -> None:
    """Draw what a curve is compared with."""
    axes.axhline(value, color=theme.bad, linestyle="--", linewidth=1, label=name)


def _title(axes: Axes, text: str, screen: ScreenSize) -> None:
    """Above the panel, with what its lines are; without a line it warns of nothing."""
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(
        handles=handles,
        title=textwrap.fill(text, screen.words),
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        borderpad=0.2,
        ncols=screen.columns,
    )


def _lines_across(axes: Axes, across: Mapping[str, Sequence[str]]) -> None:
    """Draw one path for all lines of a colour."""
    for colour, windows in across.items():
        found: list[float] = []
        for window in windows:
            when = date2num(window_start(window))
            found.extend((when, when, NOTHING))
        heights = [0, 1, NOTHING] * len(windows)
        transform = axes.get_xaxis_transform()
        axes.plot(found, heights, transform=transform, color=colour, linewidth=1, alpha=0.7)


def _numbers(axes: Axes, numbered: Mapping[int, str]) -> None:
    for number, window in numbered.items():
        axes.annotate(
            str(number),
            (date2num(window_start(window)), 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(2, 0),
            textcoords="offset points",
            va="top",
            annotation_clip=False,
        )
