"""A step that does not fit into memory gives way to smaller ones, and its lineage goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings
from training_steps import state, train

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainerDied, TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.groups_file import read_groups
from babylon_tasks.training.protocol import Inspected, InspectRequest, TrainRequest

TRIES = 2  # of the same groups


def too_large() -> TrainingError:
    return TrainingError("CUDA out of memory", fault=Fault.OUT_OF_MEMORY)


def killed() -> TrainingError:
    return TrainerDied("the trainer was ended by SIGKILL", fault=Fault.TRAINER_KILLED)


class Small(PeerTrainer):
    """Its memory suffices for some steps only; ``tried``: the windows of each step's groups."""

    def __init__(
        self,
        settings: Settings,
        fits: Callable[[list[str]], bool],
        breaks: Callable[[], TrainingError] = too_large,
    ) -> None:
        super().__init__(settings.data_dir)
        self.fits = fits
        self.breaks = breaks
        self.tried: list[list[str]] = []

    def train(self, request: TrainRequest, on_progress: Any) -> StepResult:
        groups: list[Group] = list(read_groups(request.groups_path))
        self.tried.append([group.window_id for group in groups])
        if not self.fits(self.tried[-1]):
            raise self.breaks()
        return super().train(request, on_progress)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=TRIES, max_windows_per_step=2)


def tries(settings: Settings, trainer: PeerTrainer, times: int) -> list[str]:
    return [train(settings, trainer).action for _ in range(times)]


def wait_is_over(connection: Connection) -> None:
    """Of what did not fit: it waits for so long that others are tried before it."""
    connection.execute("UPDATE training.windows SET next_attempt_at = now()")


def refused(connection: Connection) -> list[object]:
    query = "SELECT trajectory_id FROM training.rejections WHERE reason = 'out_of_memory'"
    return sorted(map(str, column(connection, query)))


@pytest.mark.parametrize("breaks", [too_large, killed])
def test_a_step_that_never_fits_is_halved_until_it_does(
    connection: Connection, settings: Settings, breaks: Callable[[], TrainingError]
) -> None:
    ids = [one for key in "abcd" for one in scored_window(connection, hour(1), key=key)]
    trainer = Small(settings, lambda groups: len(groups) == 1, breaks)

    for expected in (4, 2):
        assert tries(settings, trainer, TRIES) == ["failed"] * TRIES
        assert [len(groups) for groups in trainer.tried] == [expected] * TRIES
        assert state(connection, hour(1)) == "scored"
        assert train(settings, trainer).action == "idle", "others are tried first"
        trainer.tried.clear()
        wait_is_over(connection)
    assert tries(settings, trainer, 4) == ["committed"] * 4

    assert state(connection, hour(1)) == "trained"
    used = column(connection, "SELECT trajectory_id FROM training.consumption")
    assert sorted(map(str, used)) == sorted(ids), "each is used once, none is lost"
    assert refused(connection) == []
    failed = column(connection, "SELECT error FROM training.steps WHERE state = 'failed'")
    assert str(failed[0]).startswith("did not fit")
    assert f" {TRIES} times with 4 groups, last: " in str(failed[0])


def test_a_group_that_does_not_fit_while_other_steps_do_is_refused_by_name(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, hour(1))
    trainer = Small(settings, lambda groups: hour(1) not in groups)

    for _ in range(2):
        assert tries(settings, trainer, TRIES) == ["failed"] * TRIES
        assert (state(connection, hour(1)), refused(connection)) == ("scored", [])
        wait_is_over(connection)  # there is no other: memory may be short for all
    tries(settings, trainer, TRIES)

    scored_window(connection, hour(2))
    assert train(settings, trainer).windows == [hour(2)], "the lineage goes on"
    wait_is_over(connection)
    assert tries(settings, trainer, TRIES) == ["failed"] * TRIES

    assert refused(connection) == sorted(ids)
    wait_is_over(connection)
    scored_window(connection, hour(3))
    assert train(settings, trainer).windows == [hour(3)]
    assert state(connection, hour(1)) == "skipped"
    assert column(connection, "SELECT reason FROM training.windows ORDER BY window_id")[0] == (
        "out_of_memory"
    )
    assert column(connection, "SELECT sum(training_tries) FROM training.windows") == [0]


class SmallInspector(PeerTrainer):
    """Its memory does not suffice to inspect the groups of one window."""

    def inspect(self, request: InspectRequest, on_progress: Any) -> Inspected:
        if any(group.window_id == hour(1) for group in read_groups(request.groups_path)):
            raise too_large()
        return super().inspect(request, on_progress)


def test_a_group_that_cannot_be_inspected_while_other_steps_fit_is_refused_by_name(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, hour(1))
    trainer = SmallInspector(settings.data_dir)

    for _ in range(3):  # there is no other: memory may be short for all
        for _ in range(TRIES):
            with pytest.raises(TrainingError, match="out of memory"):
                train(settings, trainer)
        assert train(settings, trainer).action == "idle", "others are tried first"
        assert (state(connection, hour(1)), refused(connection)) == ("scored", [])
        wait_is_over(connection)
    scored_window(connection, hour(2))
    assert train(settings, trainer, hour(2)).action == "committed"

    assert train(settings, trainer).action == "skipped"
    assert refused(connection) == sorted(ids)
    assert state(connection, hour(1)) == "skipped"
    assert column(connection, "SELECT sum(training_tries) FROM training.windows") == [0]
    events = "SELECT detail ->> 'fault' FROM training.events WHERE kind = 'training_failed'"
    assert column(connection, events) == ["out_of_memory"] * 3 * TRIES


def test_what_did_not_fit_is_tried_alone(connection: Connection, settings: Settings) -> None:
    for number in (1, 2):
        scored_window(connection, hour(number))
    trainer = Small(settings, lambda groups: len(groups) == 1)

    tries(settings, trainer, TRIES)
    wait_is_over(connection)
    assert tries(settings, trainer, 2) == ["committed"] * 2

    assert trainer.tried == [[hour(1), hour(2)]] * TRIES + [[hour(1)], [hour(2)]]
