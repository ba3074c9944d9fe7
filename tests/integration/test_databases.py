"""The tests' databases are in memory where there is room for them, else where files usually are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from databases import new_folder, servers_folder


@pytest.mark.parametrize(("room", "there"), [(0, True), (2**62, False)])
def test_a_folder_in_memory_needs_room(tmp_path: Path, room: int, there: bool) -> None:
    folder = new_folder(tmp_path, room=room)
    try:
        assert folder.parent == (tmp_path if there else Path(tempfile.gettempdir()))
    finally:
        shutil.rmtree(folder)


def test_where_there_is_no_memory_disk_it_is_where_files_usually_are(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "none", room=0)
    shutil.rmtree(folder)
    assert folder.parent == Path(tempfile.gettempdir())


# As a test run that is killed: its server goes on.
KILLED = """
import os, sys
from pathlib import Path
from databases import servers_folder
from babylon_tasks.sandbox.servers import EmbeddedValkey
server = EmbeddedValkey(servers_folder(Path(sys.argv[1])) / "valkey").start()
print(server.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_has_left_goes_with_the_next_one(servers_dir: Path) -> None:
    parent = servers_dir / "runs"
    parent.mkdir()
    parent.chmod(0o711)
    mine = servers_folder(parent)
    (mine / "postgres").mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(parent)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    server = psutil.Process(int(killed.stdout))
    assert killed.returncode == -9
    assert server.is_running()

    new = servers_folder(parent)

    assert sorted(parent.iterdir()) == sorted([mine, new])
    assert not server.is_running()
    assert (mine / "postgres").is_dir(), "whose owner runs"
