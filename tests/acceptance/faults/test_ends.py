"""What the cells look at beside rows and files: processes, leases, transactions, agents."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from acceptance.conftest import MakeBabylon
from acceptance.faults import ends
from acceptance.faults.agents import Agents
from acceptance.faults.cells import CELLS, OTHER_CELLS
from acceptance.faults.ends import ENDS, assert_nothing_is_held, strays, trainers_but_one
from acceptance.harness import Babylon, until
from upstream import Upstream

from babylon_tasks.owned_folder import make_owned_folder


@contextmanager
def process(babylon: Babylon, *arguments: str) -> Iterator[psutil.Process]:
    """One that works in the data folder, and that nobody of the stack has started."""
    folder = babylon.stack.settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "import time; time.sleep(600)", *arguments]
    with subprocess.Popen(command, cwd=folder) as child:
        try:
            yield psutil.Process(child.pid)
        finally:
            child.kill()


def test_each_kind_of_system_that_is_struck_has_its_end() -> None:
    assert set(ENDS) == {cell.kind for cell in CELLS + OTHER_CELLS}
    assert all(set(ends.ALWAYS) <= set(wanted) for wanted in ENDS.values())


def test_a_process_that_nobody_started_is_left_over(babylon: Babylon) -> None:
    assert strays(babylon) == []
    with process(babylon) as left:
        until("it is seen", lambda: strays(babylon))
        assert strays(babylon) == [left]
        with pytest.raises(AssertionError, match=f"processes are left over.*pid={left.pid}"):
            ends.assert_processes_live(babylon, 0.2)


def test_one_trainer_must_run(babylon: Babylon) -> None:
    assert trainers_but_one(babylon) == ["none"]
    with pytest.raises(AssertionError, match=r"not one trainer runs: .*none"):
        ends.assert_processes_live(babylon, 0.2)
    with process(babylon, "babylon_tasks.training.trainer") as trainer:
        until("it is seen", babylon.trainer)
        assert trainers_but_one(babylon) == []

        trainer.suspend()
        until("it is stopped", lambda: trainer.status() == psutil.STATUS_STOPPED)
        assert trainers_but_one(babylon) == [f"{trainer.pid}: stopped"]
        trainer.resume()

        with process(babylon, "babylon_tasks.training.trainer"):
            until("both are seen", lambda: len(babylon.trainers()) == 2)
            assert len(trainers_but_one(babylon)) == 2


def test_temporary_folders_must_be_of_processes_that_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make_owned_folder("of-a-living-one-")
    (tmp_path / "left").mkdir()
    assert ends.abandoned(tmp_path) == ["left"]


def test_leases_and_transactions_must_end(
    babylon: Babylon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "TRANSACTION_SECONDS", 0)
    assert_nothing_is_held(babylon, 0.2)
    lease = "UPDATE training.windows SET lease_until = now() + make_interval(hours => %s)"
    babylon.connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out)"
        " VALUES ('2026-01-31T09:00', '2026-01-31T09:00Z', false)"
    )
    babylon.connection.execute(lease, (1,))
    with pytest.raises(AssertionError, match=r"held: .*window 2026-01-31T09:00"):
        assert_nothing_is_held(babylon, 0.2)
    babylon.connection.execute(lease, (-1,))
    assert_nothing_is_held(babylon, 0.2)

    database = babylon.stack.settings.database_url.get_secret_value()
    with psycopg.connect(database) as other:
        other.execute("SELECT 'left behind'")
        with pytest.raises(AssertionError, match=r"held: .*left behind"):
            assert_nothing_is_held(babylon, 0.2)


def test_agents_note_when_they_are_answered(make_babylon: MakeBabylon) -> None:
    with Upstream() as server:
        server.status = 503
        babylon = make_babylon(BABYLON_INFERENCE_PORT=str(server.port))
        with Agents(babylon) as agents:
            until("they have asked", lambda: len(server.came) > 1)
            assert b'"acceptance@0"' in server.came[0][1]
            with pytest.raises(AssertionError, match="agents are answered as acceptance@0"):
                agents.await_answer(time.monotonic(), 0.2)
            assert agents.answered == []

            server.status = 200
            agents.await_answer(time.monotonic(), 60)


def test_a_silence_is_between_answers_or_from_the_moment_that_is_asked_about(
    babylon: Babylon,
) -> None:
    agents = Agents(babylon)
    agents.answered = [1.0, 2.0, 10.0]
    assert agents.longest_silence(0.0) == 8.0, "before the first one there was no trainer yet"
    assert agents.longest_silence(3.0) == 7.0
    agents.answered = []
    assert agents.longest_silence(0.0) == 0.0
