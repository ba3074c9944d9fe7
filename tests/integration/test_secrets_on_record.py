"""Why something failed is stored, and shown on pages and terminals: no secret may be in it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from factories import WINDOW, fill_window
from scored_windows import scored_window
from scoring_runs import MakeSettings, seal
from training_steps import peer, work

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import ScoringFailed, TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.mask_secrets import MASK
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.training import trainer_errors
from babylon_tasks.training.protocol import RequestFailed
from babylon_tasks.training.trainer import failure as trainer_failure

pytestmark = pytest.mark.contract("today")
KEY = "key-of-the-judge-7f3a"
WHY = f"401: the key {KEY} was refused by https://someone:{KEY}@judge/v1"
MASKED = f"401: the key {MASK} was refused by https://{MASK}@judge/v1"


def on_record(connection: Connection) -> str:
    """Every row that says why something failed."""
    tables = ("windows", "lineage_windows", "events", "circuits", "steps")
    return "\n".join(
        str(row)
        for table in tables
        for row in connection.execute(f"SELECT * FROM training.{table}")  # type: ignore[call-overload]  # noqa: S608
    )


@pytest.mark.parametrize("error", [RuntimeError(WHY), OSError(errno.ENOSPC, WHY)])
def test_a_scoring_that_fails_leaves_none(
    make_settings: MakeSettings, connection: Connection, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    fill_window(connection)
    seal(connection)
    settings = make_settings(ruler_api_key=KEY, max_attempts=1, circuit_faults=1)
    with pytest.raises(ScoringFailed):
        score_window(settings, WINDOW, actor="test", on_progress=fail)

    found = on_record(connection)
    assert MASKED in found
    assert KEY not in found


def test_a_step_that_is_interrupted_leaves_none(
    make_settings: MakeSettings, connection: Connection
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, WHY)

    scored_window(connection)
    settings = make_settings(ruler_api_key=KEY, circuit_faults=1)
    with pytest.raises(OSError, match="401"):
        work(settings, peer(settings, during=fail))

    found = on_record(connection)
    assert MASKED in found
    assert KEY not in found


def test_what_a_trainer_reports_or_left_in_its_log_has_none(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(ruler_api_key=KEY)
    log = tmp_path / "trainer.log"
    log.write_text(f"Traceback\n{WHY}\n")

    reported = trainer_errors.reported(settings, RequestFailed("RuntimeError", WHY, Fault.WINDOW))
    ended = trainer_errors.ended(settings, "has ended", None, log, memory_was_short=False)

    for error in (reported, ended):
        assert isinstance(error, TrainingError)
        assert MASKED in str(error)
        assert KEY not in str(error)


@pytest.mark.parametrize("cut", range(0, len(WHY) + 2, 6))
def test_none_is_cut_before_it_is_masked(
    make_settings: MakeSettings, tmp_path: Path, cut: int
) -> None:
    settings = make_settings(ruler_api_key=KEY)
    log = tmp_path / "trainer.log"
    log.write_text(f"{'x' * 5000} {WHY} {'y ' * ((4096 - cut) // 2)}")  # of 4,096 bytes it is read

    sent = trainer_failure(RuntimeError(f"{'x' * (2000 - cut)} {WHY} {'y' * 5000}"))
    reported = trainer_errors.reported(settings, sent)
    ended = trainer_errors.ended(settings, "has ended", None, log, memory_was_short=False)

    assert len(str(reported)) == 2000
    assert "y y y" in str(ended)
    for error in (reported, ended):
        assert KEY[:4] not in str(error)
        assert KEY[-4:] not in str(error)
