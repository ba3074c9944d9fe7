"""What a report has beside the run itself: its best and worst answers, its newest comparison."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.cli.comparison_lines import lines
from babylon_tasks.comparison.history import ComparisonHistory, history
from babylon_tasks.comparison.on_record import parameters_of
from babylon_tasks.db import arms, comparisons
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherVersion
from babylon_tasks.pipeline.comparison_figures import figures_of
from babylon_tasks.pipeline.look_at import look_at_extremes
from babylon_tasks.run_records import Extremes, RunRows
from babylon_tasks.settings import Settings

_RECENT = 24  # windows whose best and worst answers are on the page
_EACH = 3


class PageParts(Struct, frozen=True):
    """The best and the worst of the newest windows; and the newest comparison, where it has
    compared a window, in words and as curves."""

    extremes: Extremes
    comparison: tuple[list[str], ComparisonHistory] | None


def read_parts(connection: Connection, settings: Settings, rows: RunRows) -> PageParts:
    """Read them."""
    recent = [one.window for one in rows.windows[-_RECENT:]]
    return PageParts(
        look_at_extremes(connection, settings, recent, best=_EACH, worst=_EACH),
        _comparison(connection, settings.lineage),
    )


def _comparison(connection: Connection, lineage: str) -> tuple[list[str], ComparisonHistory] | None:
    found = comparisons.newest(connection, lineage)
    if found is None:
        return None
    try:
        drawn = history(
            parameters_of(found.id, found.parameters),
            comparisons.recorded(connection, found.id),
            arms.since(connection, lineage, found.began_window),
            comparisons.done(connection, lineage, found.id),
        )
    except AnotherVersion:  # `compare picture` says what it lacks
        return None
    if not drawn.points:
        return None
    return lines(found, figures_of(connection, lineage, found)), drawn
