"""A judge beside a real worker: its process ends with the work, whoever ends the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psutil
import pytest
from acceptance.harness import Babylon, hours, until
from descendants import descendants
from judge_peer import JudgePeer

KEY = "word-of-the-judge"


@pytest.fixture
def peer() -> Iterator[JudgePeer]:
    with JudgePeer(KEY, lambda transcript: 0.9 if '"YES"' in transcript else 0.2) as running:
        yield running


def judge_of(babylon: Babylon) -> psutil.Process | None:
    """The judge's process, where the cpu-worker has one."""
    worker = babylon.process("cpu-worker").child.pid
    found = descendants(worker, "babylon_tasks.training.judge_process")
    return found[0] if found else None


@pytest.mark.parametrize("end", ["terminated", pytest.param("killed", marks=pytest.mark.faults)])
def test_a_worker_that_is_ended_while_it_waits_for_a_judge_leaves_none_and_the_next_one_scores(
    make_babylon: Callable[..., Babylon], peer: JudgePeer, end: str
) -> None:
    babylon = make_babylon(
        BABYLON_SCORER="ruler",
        BABYLON_RULER_MODEL="openai/own-model",
        BABYLON_RULER_BASE_URL=peer.url,
        BABYLON_RULER_API_KEY=KEY,
        BABYLON_SHUTDOWN_SECONDS="1",
    )
    [window] = hours(1)
    babylon.record(window, groups=1, agents=4)
    peer.misbehaves = "silence"
    babylon.start("cpu-worker", "beat")
    until("the judge has been asked", lambda: len(peer.requests) == 2)
    judge = judge_of(babylon)
    assert judge is not None
    assert KEY not in "\n".join([*judge.environ().values(), *judge.cmdline()])

    if end == "killed":
        babylon.kill("cpu-worker")
    else:
        babylon.terminate("cpu-worker").child.wait(60)
    until("the judge has ended", lambda: not judge.is_running())
    peer.behave()
    babylon.start("cpu-worker")
    babylon.await_states([window], "scored")

    scored = babylon.rows("SELECT scorer, reward FROM training.scores ORDER BY reward")
    assert [row["scorer"] for row in scored] == ["ruler"] * 4
    assert [row["reward"] for row in scored] == pytest.approx([0.2, 0.2, 0.9, 0.9])
    [event] = [one for one in babylon.events_of(window) if one["kind"] == "judged"]
    assert event["detail"]["answers"] == 2
    assert KEY not in babylon.log("cpu-worker")
