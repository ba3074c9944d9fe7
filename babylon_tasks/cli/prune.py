"""``prune``: delete old checkpoints and rows, as the workers do by themselves."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from msgspec import Struct, structs

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.output import AsJson, as_json, show
from babylon_tasks.counted import counted
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.pipeline.results import PrunedCheckpoints, PrunedRows
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike

_ALL = 1_000_000


class Pruned(Struct, frozen=True):
    """What the command did, or would do."""

    checkpoints: PrunedCheckpoints
    rows: PrunedRows


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(prune)


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, change nothing.")] = False,
    set_aside: Annotated[
        bool,
        typer.Option("--set-aside", help="Also every checkpoint that was set aside."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Delete old checkpoints and old rows of ours, where the gpu-worker runs.

    Workers do it by themselves. BABYLON_KEEP_CHECKPOINTS, BABYLON_KEEP_ROWS_DAYS,
    BABYLON_KEEP_CALLS_DAYS and BABYLON_KEEP_REPLAY_DAYS say what stays.
    Safe while everything runs, and repeating it is harmless.
    With --set-aside also all checkpoints that could not be verified, which `status` names, and
    those that ART never finished.
    JSON: {checkpoints: {marked: [step], deleted, optimizers, ended, size, set_aside},
    rows: {windows: [window], scores, rejections, uses, bets, outcomes, manifests,
    call_days, replays, samples}}.
    """
    settings = begin()
    with database(settings):  # with this code's schema
        pass
    with ExitStack() as stack:

        def trainer() -> TrainerLike:
            from babylon_tasks.tasks.trainer_manager import trainer_of_a_command

            return stack.enter_context(trainer_of_a_command())

        checkpoints = prune_checkpoints(
            settings, trainer, actor=actor(), dry_run=dry_run, all_set_aside=set_aside
        )
    result = Pruned(checkpoints, _rows(settings, dry_run))
    if json:
        as_json(result)
        return
    for line in _lines(result, dry_run=dry_run):
        show(line)


def _rows(settings: Settings, dry_run: bool) -> PrunedRows:
    if dry_run:
        return prune_rows(settings, actor=actor(), limit=_ALL, dry_run=True)
    total = PrunedRows()
    while True:
        more = prune_rows(settings, actor=actor())
        total = PrunedRows(
            **{name: getattr(total, name) + count for name, count in structs.asdict(more).items()}
        )
        if not (more.windows or more.outcomes or more.replays or more.samples):
            return total


def _lines(pruned: Pruned, *, dry_run: bool) -> list[str]:
    files = pruned.checkpoints
    rows_did = "would be" if dry_run else "were"
    did = "was" if len(files.deleted) == 1 and not dry_run else rows_did
    size = f" ({files.size / 2**20:.1f} MiB)" if files.size else ""
    aside = f"; of those set aside {len(files.set_aside)}" if files.set_aside else ""
    return [
        f"{counted(len(files.deleted), 'checkpoint')} {did} deleted{_listed(files.deleted)}, "
        f"and the optimizer's state of {len(files.optimizers)} more{size}{aside}",
        f"the rows of {counted(len(pruned.rows.windows), 'window')} {rows_did} deleted",
    ]


def _listed(steps: list[int]) -> str:
    return f": {', '.join(map(str, steps))}" if steps else ""
