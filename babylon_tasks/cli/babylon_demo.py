"""``demo --world babylon``: its table, and the models side by side at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from babylon_tasks.cli.comparison_lines import last_evidence, lines
from babylon_tasks.cli.comparison_picture import drawing, recorded
from babylon_tasks.cli.context import configure_log
from babylon_tasks.cli.output import cell, cut, out, say, show, table, write
from babylon_tasks.cli.running import stay as keep_running
from babylon_tasks.counted import counted
from babylon_tasks.db import comparisons
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.comparison_figures import figures_of

if TYPE_CHECKING:
    from babylon_tasks.sandbox.babylon_world.results import BabylonReport, ModelShares, PlayedHour
    from babylon_tasks.sandbox.stack import Stack
    from babylon_tasks.settings import Settings

_COLUMNS = {
    "window": 16,
    "ours": 4,
    "asked": 5,
    "valid": 5,
    "right": 5,
    "theirs": 6,
    "step": 4,
    "decision": 8,
    "compared": 11,
}


def play_babylon(
    windows: int | None, seed: int, report: Path | None, keep: Path | None, *, stay: bool
) -> None:
    """Play it, and print what comes of it."""
    from babylon_tasks.sandbox.babylon_world.demo import BabylonWatcher, run
    from babylon_tasks.sandbox.demo_report import write as write_report

    rows = _Lines()
    say(
        "after the warm start our share of the agents grows by evidence alone, compared hour by "
        "hour with the model that they had; `right` is of all its answers, `theirs` of that model's"
    )

    def done(stack: Stack, found: BabylonReport) -> None:
        _show_report(found)
        missing = what_is_missing(stack.settings, found.windows)
        if missing is not None:
            say(missing)
        if report is not None:
            write_report(found, report)
            say(f"the report is in {report}")
            _draw(stack, report.with_suffix(".html"))
        if stay:
            keep_running(stack, found.windows[-1].window)

    watcher = BabylonWatcher(settings=configure_log, news=say, window=rows.window, done=done)
    run(watcher, windows=windows, seed=seed, keep=keep)


def what_is_missing(settings: Settings, played: Sequence[PlayedHour]) -> str | None:
    """Say why the largest share was not reached, by the evidence that ``compare status`` shows."""
    from babylon_tasks.sandbox.babylon_world.demo import HOURS_AT_THE_TOP
    from babylon_tasks.sandbox.babylon_world.results import short_of_the_top

    short = short_of_the_top(played, HOURS_AT_THE_TOP)
    if short is None:
        return None
    with session(settings) as connection:
        newest = comparisons.newest(connection, settings.lineage)
        if newest is None:
            return f"{short}; no comparison has begun"
        if newest.ended_at is not None:
            return f"{short}; the comparison was ended: {newest.ended_why}"
        return f"{short}; {last_evidence(figures_of(connection, settings.lineage, newest))}"


def _draw(stack: Stack, file: Path) -> None:
    lineage = stack.settings.lineage
    with session(stack.settings) as connection:
        found = comparisons.newest(connection, lineage)
        drawn = None if found is None else recorded(connection, lineage, found)
        if found is None or drawn is None or not drawn.points:
            say("no hour was compared, so nothing is drawn")
            return
        described = lines(found, figures_of(connection, lineage, found))
    write(file, drawing(file, f"Lineage {lineage}", described, drawn))
    say(f"its comparison, with shares, evidence and anchor, is drawn in {file}")


def _show_report(found: BabylonReport) -> None:
    out.print()
    table(
        "Markets that nobody has seen, half of them in phrasings that no hour had",
        ("model", "answers#", "valid JSON#", "right of trades#", "right of all#"),
        map(_cells, found.evaluation),
    )
    say(
        f"{counted(len(found.warm_start), 'supervised step')} and "
        f"{counted(len(found.windows), 'window')} in {found.seconds:.0f} s"
    )


def _cells(one: ModelShares) -> tuple[object, ...]:
    shares = (one.valid, one.right_of_trades, one.right_of_all)
    return (one.model, one.n, *(f"{share:.1%}" for share in shares))


class _Lines:
    """The table of hours, one line as each is finished."""

    def __init__(self) -> None:
        self._begun = False

    def window(self, hour: PlayedHour) -> None:
        """Print a finished hour."""
        if not self._begun:
            show(_line(_COLUMNS))
        self._begun = True
        ours, external = hour.ours, hour.external
        cells = (
            hour.window,
            f"{hour.share:.0%}",
            f"@{hour.served_step}",
            f"{ours.valid:.0%}",
            f"{ours.right_of_all:.0%}",
            f"{external.right_of_all:.0%}",
            hour.step,
            hour.decision,
            hour.concluded,
        )
        show(_line(cell(value) for value in cells))


def _line(cells: Iterable[str]) -> str:
    fitted = zip(cells, _COLUMNS.values(), strict=True)
    return "  ".join(cut(text, width).ljust(width) for text, width in fitted).rstrip()
