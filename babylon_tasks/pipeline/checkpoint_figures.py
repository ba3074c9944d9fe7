"""Figures of checkpoints on a held-out set: those on record, and the trainer's of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from msgspec import Struct

from babylon_tasks.dataset.diversity import is_contested
from babylon_tasks.db import evaluations
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import CannotEvaluate
from babylon_tasks.records import Group
from babylon_tasks.registry.promotion_gate import CheckpointFigures
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.groups_file import passed_groups
from babylon_tasks.training.protocol import Evaluated, EvaluateRequest, OnProgress


class ComparedCheckpoints(Struct, frozen=True):
    """What the gate compares: two checkpoints, on the held-out groups that ``set_hash`` names."""

    head: int
    serving: int
    groups: tuple[Group, ...]
    set_hash: str


def figures_of(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    wanted: Set[int],
    on_progress: OnProgress,
) -> dict[int, CheckpointFigures]:
    """Return these checkpoints' figures on the set; those that are not on record are evaluated.

    Raises CannotEvaluate, TrainingError, DatabaseError.
    """
    with session(settings) as connection:
        known = on_record(connection, settings.lineage, compared.set_hash)
    missing = tuple(sorted(wanted - known.keys()))
    if missing:
        _evaluate_missing(settings, trainer, compared, missing, on_progress)
        with session(settings) as connection:
            known = on_record(connection, settings.lineage, compared.set_hash)
    return known


def on_record(connection: Connection, lineage: str, set_hash: str) -> dict[int, CheckpointFigures]:
    """Read the figures of all checkpoints that were evaluated on a set."""
    return {
        step: CheckpointFigures(step, found.values, found.coverage, found.entropy, found.says)
        for step, found in evaluations.of_set(connection, lineage, set_hash).items()
    }


def _evaluate_missing(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    missing: tuple[int, ...],
    on_progress: OnProgress,
) -> None:
    folder = settings.data_dir.absolute() / settings.lineage / "evaluations"
    path = folder / f"{compared.set_hash}.json"
    request = EvaluateRequest(steps=missing, groups_path=str(path))
    with passed_groups(path, compared.groups):
        result = trainer.evaluate(request, on_progress)
    check_answer(result, missing, len(compared.groups))
    names = [(group.window_id, group.key) for group in compared.groups]
    with session(settings) as connection, connection.transaction():
        for scored in result.steps:
            evaluations.store(
                connection,
                settings.lineage,
                scored.step,
                compared.set_hash,
                groups=names,
                values=scored.values,
                coverage=scored.coverage,
                entropy=scored.entropy,
                says=scored.says,
                contested=[is_contested(group) for group in compared.groups],
            )


def check_answer(answer: Evaluated, steps: Sequence[int], groups: int) -> None:
    """Raise CannotEvaluate unless exactly the requested steps have finite figures per group."""
    answered = [scored.step for scored in answer.steps]
    if sorted(answered) != sorted(steps):
        raise CannotEvaluate(
            f"the trainer was asked to evaluate steps {sorted(steps)} and answered with "
            f"{sorted(answered)}; nothing was stored, see the trainer's log"
        )
    for scored in answer.steps:
        for figures in (scored.values, scored.coverage, scored.entropy):
            if len(figures) != groups or not all(map(math.isfinite, figures)):
                raise _not_usable(scored.step, groups)
        probabilities = [probability for one in scored.says for probability in one.values()]
        if len(scored.says) != groups or not all(map(math.isfinite, probabilities)):
            raise _not_usable(scored.step, groups)


def _not_usable(step: int, groups: int) -> CannotEvaluate:
    return CannotEvaluate(
        f"the trainer's values of step {step} are not {groups} finite numbers; nothing was "
        "stored, see the trainer's log"
    )
