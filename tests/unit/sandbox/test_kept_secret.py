"""Generated passwords outlive a restart, and only their owner can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.sandbox.kept_secret import kept_secret


def test_a_secret_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "key")
    assert kept_secret(tmp_path / "key") == first
    assert kept_secret(tmp_path / "other") != first
    assert len(first) > 20
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_what_is_no_secret_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    made = kept_secret(tmp_path / "key")
    assert len(made) > 20
    assert kept_secret(tmp_path / "key") == made


def test_what_others_could_read_is_no_secret_any_more(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    assert kept_secret(tmp_path / "key") != first
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
