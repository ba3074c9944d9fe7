"""The tests' databases are in memory where there is room for them, else where files usually are."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from databases import new_folder


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
