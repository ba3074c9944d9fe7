"""``compare picture``: a comparison's recorded windows, as a file for a browser or a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babylon_tasks.cli.comparison_lines import lines
from babylon_tasks.cli.context import begin, database, require
from babylon_tasks.cli.output import AsJson, as_json, refuse, show, write
from babylon_tasks.comparison.history import ComparisonHistory, history
from babylon_tasks.comparison.on_record import parameters_of
from babylon_tasks.counted import counted
from babylon_tasks.db import arms, comparisons
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherVersion
from babylon_tasks.pipeline.comparison_figures import figures_of

_KINDS = (".html", ".svg")


def picture(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="FILE.html or FILE.svg; replaced if it is there.")
    ],
    number: Annotated[
        int | None,
        typer.Option("--comparison", metavar="ID", min=1, help="By default the newest one."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Draw a comparison: differences, harm, trial, shares and loss, by window.

    HTML also has what was concluded, why, and what was done; it suits a phone and a dark screen.
    SVG is the curves alone. Needs the extra `pictures`. Exit code 3 if there is nothing to draw.
    JSON: {comparison: id, file, windows, marks: [{number, window, conclusion, why, done}]}.
    """
    if file.suffix not in _KINDS:
        raise typer.BadParameter(f"{file} is neither FILE.html nor FILE.svg")
    require("matplotlib", extras="pictures")
    settings = begin()
    lineage = settings.lineage
    with database(settings) as connection:
        found = (
            comparisons.newest(connection, lineage)
            if number is None
            else comparisons.get(connection, lineage, number)
        )
        if found is None:
            what = "compares nothing" if number is None else f"has no comparison {number}"
            refuse(f"lineage {lineage} {what}, so nothing was drawn")
        figures = figures_of(connection, lineage, found)
        try:
            drawn = recorded(connection, lineage, found)
        except AnotherVersion as error:
            refuse(f"comparison {found.id} cannot be drawn: {error}")
    if not drawn.points:
        refuse(
            f"comparison {found.id}, from {found.began_window} on, has compared no window yet, "
            "so nothing was drawn; `babylon-tasks compare status` says what it waits for"
        )
    write(file, drawing(file, f"Lineage {lineage}", lines(found, figures), drawn))
    if json:
        as_json(
            {
                "comparison": found.id,
                "file": str(file),
                "windows": drawn.windows,
                "marks": drawn.marks,
            }
        )
    else:
        show(f"{file}: comparison {found.id}, {counted(drawn.windows, 'window')}")


def recorded(connection: Connection, lineage: str, found: Comparison) -> ComparisonHistory:
    """Read what can be drawn of a comparison; raises AnotherVersion."""
    return history(
        parameters_of(found.id, found.parameters),
        comparisons.recorded(connection, found.id),
        arms.since(connection, lineage, found.began_window),
        comparisons.done(connection, lineage, found.id),
    )


def drawing(file: Path, title: str, described: list[str], found: ComparisonHistory) -> str:
    """Draw it as ``FILE.svg``, else write the page."""
    # Here, since both import matplotlib, which other commands do without.
    from babylon_tasks.cli.comparison_curves import draw
    from babylon_tasks.cli.comparison_page import page

    return draw(found) if file.suffix == ".svg" else page(title, described, found)
