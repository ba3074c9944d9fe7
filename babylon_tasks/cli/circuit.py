"""``circuit reset``: let scoring and training try again at once."""

from __future__ import annotations

import typer

from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.nouns import Listing
from babylon_tasks.cli.output import AsJson, as_json, show
from babylon_tasks.db import circuits


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    circuit = typer.Typer(
        cls=Listing,
        no_args_is_help=True,
        help="What pauses scoring and training after repeated faults.",
    )
    circuit.callback()(_group)
    circuit.command()(reset)
    app.add_typer(circuit, name="circuit")


def _group() -> None:
    """Keep `reset` a verb: typer would make a group of one verb a command."""


def reset(json: AsJson = False) -> None:
    """Close the circuits of scoring and of the lineage's training; `status` shows open ones.

    JSON: {closed: [name]}.
    """
    settings = begin()
    names = (circuits.SCORING, circuits.training(settings.lineage))
    with database(settings) as connection:
        closed = [name for name in names if circuits.close(connection, name)]
    if json:
        as_json({"closed": closed})
    else:
        show(f"closed: {', '.join(closed)}" if closed else "no circuit was open")
