"""Replay a committed step: compare what was kept of it, and train it again beside the lineage."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from babylon_tasks.dataset import checkpoint_tree
from babylon_tasks.dataset.row_differences import RowDifference
from babylon_tasks.db import kept_members, lineages
from babylon_tasks.db.session import session
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.compare_rows import compare_rows
from babylon_tasks.pipeline.kept_step import KeptState, KeptStep, read_step
from babylon_tasks.pipeline.train_again import NotTrainedAgain, TrainedAgain, train_again
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import RequestProgress


class Replay(Struct, frozen=True):
    """What a replay found; see ``KeptState``, ``RowDifference`` and ``TrainedAgain``.

    ``problems``: what is damaged, and that training it again failed.
    ``kept_bytes``: what the step takes in Postgres. ``compared``: rows that were compared with
    Babylon's, 0 where the manifest lists none any more. ``not_trained_again``: why not, None where
    it was, or was not asked for.
    """

    lineage: str
    step: int
    parent: int
    windows: list[str]
    backend: str
    code_version: str
    manifest_hash: str
    kept: KeptState
    problems: list[str]
    trajectories: int
    kept_bytes: int
    compared: int
    differences: list[RowDifference]
    trained_again: TrainedAgain | None = None
    not_trained_again: str | None = None


def replay(
    settings: Settings,
    number: int,
    *,
    train: bool,
    back: int,
    on_progress: Callable[[RequestProgress], None],
) -> Replay:
    """Replay the step that made a checkpoint; changes nothing of the lineage.

    Raises CheckpointNotFound. What the trainer refuses is one of the problems.
    """
    with session(settings) as connection:
        step = read_step(connection, settings.lineage, number)
        outcomes = kept_members.changed_outcomes(connection, step.step.id)
        differences = compare_rows(connection, settings, step.manifest, step.members, outcomes)
        parents = lineages.parents(connection, settings.lineage)
        committed = lineages.checkpoints(connection, settings.lineage)

    def read(earlier: int) -> KeptStep:
        with session(settings) as connection:
            return read_step(connection, settings.lineage, earlier)

    again: TrainedAgain | NotTrainedAgain | None = None
    problems = step.problems
    if train:
        try:
            again = train_again(
                settings,
                step,
                read,
                parents=parents,
                committed=committed,
                back=back,
                on_progress=on_progress,
            )
        except TrainingError as error:
            problems = [*problems, f"training it again failed: {error}"]
    return Replay(
        lineage=settings.lineage,
        step=number,
        parent=checkpoint_tree.parent(number, parents),
        windows=step.step.windows,
        backend=step.about.backend,
        code_version=step.manifest.code_version,
        manifest_hash=step.step.manifest_hash,
        kept=step.state,
        problems=problems,
        trajectories=len(step.members),
        kept_bytes=step.size,
        compared=len(step.manifest.entries),
        differences=differences,
        trained_again=again if isinstance(again, TrainedAgain) else None,
        not_trained_again=again.why if isinstance(again, NotTrainedAgain) else None,
    )
