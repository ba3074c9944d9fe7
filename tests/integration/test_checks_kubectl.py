"""Which kubectl renders k8s/: that of the PATH, unless it is too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks import kubectl


def installed(folder: Path, version: str) -> str:
    """A program named kubectl that says it is of this version."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\necho '{version}'\n", "utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("minor", ["37", "38+"])
def test_that_of_the_path_is_used(tmp_path: Path, minor: str) -> None:
    version = f'{{"clientVersion": {{"major": "1", "minor": "{minor}"}}}}'
    found = installed(tmp_path, version)
    assert kubectl.program(found) == Path(found)


@pytest.mark.parametrize(
    "version", ['{"clientVersion": {"major": "1", "minor": "32"}}', "{}", "Client Version: v1.20"]
)
def test_an_old_one_is_not(tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(tmp_path, version)
    assert kubectl.program(found) == kubectl.TOOLS / "bin" / "kubectl"
    monkeypatch.setattr(kubectl, "TOOLS", tmp_path / "nothing")
    kubectl.program.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"no kubectl of version 1\.37 or later: run `make"):
        kubectl.program(found)
