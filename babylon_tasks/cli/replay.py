"""``replay``: compare a step with what was kept of it, and train it again beside the lineage."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.models import step_of
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, progress_bar, show, table
from babylon_tasks.pipeline.kept_step import KeptState
from babylon_tasks.pipeline.replay import Replay, replay
from babylon_tasks.pipeline.train_again import TrainedAgain
from babylon_tasks.policy_names import policy_name

_LISTED = 20  # differences; --json has all
_KEPT = {
    KeptState.WHOLE: "is kept and is what its manifest lists",
    KeptState.DAMAGED: "is damaged",
    KeptState.PRUNED: "is pruned (BABYLON_KEEP_REPLAY_DAYS)",
    KeptState.NOT_KEPT: "was not kept: BABYLON_KEEP_REPLAY_DAYS was 0, or the release older",
}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("replay")(replay_step)


def replay_step(
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step: 7, or babylon@7.")],
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Only compare, train nothing.")
    ] = False,
    back: Annotated[
        int,
        typer.Option(
            min=0,
            help="Where the optimizer's state of the step's parent is pruned: at most so many "
            "earlier steps are trained first, to make it again.",
        ),
    ] = 10,
    json: AsJson = False,
) -> None:
    """Compare a step with what was kept of it and with Babylon's rows, and train it again.

    Training again takes backend cpu and the lineage's data folder, which is only read: a trainer
    of its own works in a temporary folder and serves nothing.
    Exit code 1: what was kept is damaged, training failed, or the adapter differs. 3: it is not
    kept any more, or cannot be trained again here; the rest was done.
    JSON: {lineage, step, parent, windows, backend, code_version, manifest_hash, kept, problems:
    [text], trajectories, kept_bytes, compared, differences: [{trajectory_id, window, kind,
    detail}], trained_again: {equal, started_from, steps, new_optimizer, adapter_hash,
    committed_hash, relative_norm, largest} or null, not_trained_again: text or null}.
    """
    settings = begin()
    number = step_of(settings, step)
    with database(settings):  # with this code's schema
        pass
    with progress_bar(f"training {policy_name(settings.lineage, number)} again") as report:
        found = replay(
            settings,
            number,
            train=not no_train,
            back=back,
            on_progress=lambda progress: report(progress.done, progress.total),
        )
    if json:
        as_json(found)
    else:
        _show(found)
    raise typer.Exit(_code(found))


def _code(found: Replay) -> ExitCode:
    again = found.trained_again
    if found.problems or (again is not None and not again.equal):
        return ExitCode.FAILED
    if found.kept is not KeptState.WHOLE or found.not_trained_again is not None:
        return ExitCode.REFUSED
    return ExitCode.DONE


def _show(found: Replay) -> None:
    name = policy_name(found.lineage, found.step)
    show(
        f"{name} was trained from {policy_name(found.lineage, found.parent)} on "
        f"{', '.join(found.windows)} by {found.code_version}, manifest {found.manifest_hash[:12]}"
    )
    size = f": {found.trajectories} trajectories, {found.kept_bytes / 2**10:.1f} KiB"
    show(
        f"what it was trained on {_KEPT[found.kept]}"
        + (size if found.kept is KeptState.WHOLE else "")
    )
    for problem in found.problems:
        show(f"  {problem}")
    _show_differences(found)
    if found.trained_again is not None:
        show(_again(found, found.trained_again))
    elif found.not_trained_again is not None:
        show(f"not trained again: {found.not_trained_again}")


def _show_differences(found: Replay) -> None:
    if not found.compared:
        show("not compared with Babylon's rows: the manifest's list of trajectories is pruned")
        return
    changed = len({one.trajectory_id for one in found.differences})
    show(f"of {found.compared} rows, Babylon has changed or deleted {changed} since")
    if found.differences:
        rows = ((d.trajectory_id, d.window, d.kind, d.detail) for d in found.differences[:_LISTED])
        table(None, ("trajectory", "window", "what", "detail"), rows)
        if len(found.differences) > _LISTED:
            show(f"and {len(found.differences) - _LISTED} more: see --json")


def _again(found: Replay, again: TrainedAgain) -> str:
    names = ", ".join(policy_name(found.lineage, one) for one in again.steps)
    what = f"trained {names} again from {policy_name(found.lineage, again.started_from)}"
    if again.new_optimizer:
        what += ", whose optimizer's state is pruned and began anew (--back)"
    if again.equal:
        return f"{what}: the adapter is equal, byte for byte"
    last = policy_name(found.lineage, again.steps[-1])
    if again.relative_norm is None:
        return f"{what}: the adapter of {last} differs; its weights are not here to compare them"
    return (
        f"{what}: the adapter of {last} differs: the norm of the difference is "
        f"{again.relative_norm:.2g} of the adapter's, its largest element {again.largest:.2g}"
    )
