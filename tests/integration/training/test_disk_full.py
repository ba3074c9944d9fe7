"""A data folder that is full: a tmpfs in a mount namespace of its own, a real trainer on it.

The kernel says ENOSPC wherever it happens: in the groups' file, the weights, the optimiser's state.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import WINDOW
from scored_windows import column, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

_MOUNT = 'mount -t tmpfs -o "size=$0" none "$1" && shift && exec "$@"'


pytestmark = pytest.mark.contract("today")


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    """A disk of a test's own size is mounted without root, in namespaces of the user's."""
    unshare = shutil.which("unshare")
    usable = unshare and not subprocess.run([unshare, "-Urm", "true"]).returncode
    assert usable, "needs util-linux, and a kernel that lets users make namespaces"


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tiny_model: Path) -> Settings:
    return make_settings(base_model=str(tiny_model), max_attempts=1, retry_delay_seconds=0)


def train(settings: Settings, *before: str) -> dict[str, Any]:
    """What `babylon-tasks train` says of the step."""
    ended = run(settings, *before)
    assert ended.stdout, ended.stderr
    outcome: dict[str, Any] = json.loads(ended.stdout)["outcome"]
    return outcome


def run(settings: Settings, *before: str) -> subprocess.CompletedProcess[str]:
    """`babylon-tasks train` in a process of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "BABYLON_DATA_DIR": str(settings.data_dir),
        "BABYLON_BASE_MODEL": settings.base_model,
        "BABYLON_BACKEND": "cpu",
        "BABYLON_INFERENCE_PORT": "0",
        "BABYLON_MAX_ATTEMPTS": "1",
        "BABYLON_RETRY_DELAY_SECONDS": "0",
    }
    command = [*before, sys.executable, "-m", "babylon_tasks", "train", WINDOW, "--json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


# The first leaves no room for the weights, the second none for the optimiser's state.
@pytest.mark.parametrize("size", ["60k", pytest.param("200k", marks=pytest.mark.long)])
def test_a_full_data_folder_fails_no_window_and_the_reason_says_how_much_is_free(
    connection: Connection, settings: Settings, size: str
) -> None:
    scored_window(connection)
    settings.data_dir.mkdir(parents=True, exist_ok=True)

    full = ["unshare", "-Urm", "sh", "-c", _MOUNT, size, str(settings.data_dir)]
    outcome = train(settings, *full)

    assert (outcome["action"], outcome["fault"]) == ("failed", "disk_full"), outcome
    assert f"MiB are free in {settings.data_dir}" in outcome["reason"]
    rows = "SELECT state || ' ' || training_tries FROM training.windows"
    assert column(connection, rows) == ["training 0"]

    again = train(settings)
    assert again["action"] == "committed", again


def test_a_trainer_that_can_no_longer_write_its_log_says_that_there_is_no_room_and_lives(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    settings.data_dir.mkdir(parents=True, exist_ok=True)

    full = ["unshare", "-Urm", "sh", "-c", _MOUNT, "4k", str(settings.data_dir)]
    ended = run(settings, *full)

    assert "the trainer exited" not in ended.stderr
    assert f"0.0 MiB are free in {settings.data_dir}" in ended.stderr
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]


def test_a_child_whose_log_is_full_answers_all_the_same(tmp_path: Path) -> None:
    talker = (
        "import sys; from babylon_tasks.training.child_log import take_stdout; out = take_stdout();"
        "print('x' * 100_000); print('y', file=sys.stderr); out.write(b'answered'); out.flush()"
    )
    to_the_log = 'mount -t tmpfs -o size=4k none "$0" && exec "$1" -c "$2" 2>"$0/log"'
    command = ["unshare", "-Urm", "sh", "-c", to_the_log, str(tmp_path), sys.executable, talker]

    ended = subprocess.run(command, capture_output=True, timeout=60)

    assert (ended.returncode, ended.stdout) == (0, b"answered")
