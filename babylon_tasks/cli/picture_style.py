"""How pictures look: colours, sizes, as parameters of matplotlib."""

from __future__ import annotations

from msgspec import Struct


class Theme(Struct, frozen=True):
    """Colours; ``lines`` differ also for whoever sees no red or green."""

    paper: str
    ink: str
    grid: str
    lines: tuple[str, str, str, str]
    good: str
    bad: str


class ScreenSize(Struct, frozen=True):
    """The width, a panel's height and the text's, in pixels of the picture at its own size."""

    width: int
    panel: int
    text: int
    ticks: int  # dates, at most: 5 are enough for each span
    words: int  # letters in a line of text
    columns: int  # of the names of lines


LIGHT = Theme(
    "#ffffff",
    "#1f2328",
    "#d8dee4",
    ("#0065b3", "#b35900", "#7a3e9d", "#57606a"),
    "#1a7f37",
    "#cf222e",
)
DARK = Theme(
    "#0d1117",
    "#e6edf3",
    "#30363d",
    ("#6cb6ff", "#f0a050", "#d2a8ff", "#9ea7b3"),
    "#56d364",
    "#ff7b72",
)
WIDE = ScreenSize(960, 170, 12, 10, 120, 5)
NARROW = ScreenSize(360, 180, 11, 5, 44, 2)


def style(theme: Theme, screen: ScreenSize) -> dict[str, object]:
    """Return matplotlib's parameters."""
    return {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "babylon-tasks",
        "text.parse_math": False,
        "font.size": screen.text,
        "legend.fontsize": screen.text,
        "legend.title_fontsize": screen.text + 1,
        "legend.frameon": False,
        "legend.handlelength": 1.2,
        "legend.columnspacing": 1.2,
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.grid,
        "axes.labelcolor": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
    }
