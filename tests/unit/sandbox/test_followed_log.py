"""Why a trainer does not start is read from its worker's log while it is written."""

from __future__ import annotations

from pathlib import Path

from babylon_tasks.sandbox.followed_log import FollowedLog

FAILED = '{"why": "OSError: no model", "event": "serving.failed", "level": "error"}\n'


def test_each_failure_is_read_once_and_only_when_its_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "gpu-worker.log"
    log = FollowedLog(path)
    assert list(log.failed_starts()) == []
    with path.open("a", buffering=1) as stream:
        stream.write('{"event": "other"}\nno JSON\n[1]\n' + FAILED + FAILED[:20])
        stream.flush()
        assert list(log.failed_starts()) == ["OSError: no model"]
        assert list(log.failed_starts()) == []
        stream.write(FAILED[20:])
        stream.write('{"event": "serving.failed", "exception": "Traceback\\nValueError: broken"}\n')
        stream.flush()
        assert list(log.failed_starts()) == ["OSError: no model", "ValueError: broken"]


def test_what_an_earlier_run_has_logged_is_past(tmp_path: Path) -> None:
    path = tmp_path / "gpu-worker.log"
    path.write_text(FAILED)
    assert list(FollowedLog(path).failed_starts()) == []
