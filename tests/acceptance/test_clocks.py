"""No machine's clock decides whether a message is still good, or when the next is due."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from acceptance.harness import Babylon, hours, until
from acceptance.outcome import assert_trained_once

from checks.clock.moved_clock import MovedClock

TEN_MINUTES = timedelta(minutes=10)


def start(babylon: Babylon, name: str, clock: MovedClock) -> None:
    babylon.stack.start(
        name, babylon.stack.command(name), {"LD_PRELOAD": clock.environment()["LD_PRELOAD"]}
    )


@pytest.mark.parametrize(
    "by",
    [
        pytest.param(TEN_MINUTES, id="ahead", marks=pytest.mark.faults),
        pytest.param(-TEN_MINUTES, id="behind", marks=pytest.mark.faults),
    ],
)
def test_workers_whose_clock_is_wrong_work_as_any_other(
    babylon: Babylon, clock: MovedClock, by: timedelta
) -> None:
    windows = hours(2)
    for window in windows:
        babylon.record(window)
    clock.move(by)

    babylon.start("beat")
    start(babylon, "cpu-worker", clock)
    start(babylon, "gpu-worker", clock)
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)


def test_beat_whose_clock_is_set_back_goes_on_sending(babylon: Babylon, clock: MovedClock) -> None:
    babylon.start("cpu-worker")
    start(babylon, "beat", clock)
    until("it sends", lambda: babylon.succeeded("babylon.discover.v1"))

    clock.move(-TEN_MINUTES)
    (window,) = hours(1)
    babylon.record(window)
    babylon.await_states([window], "scored")


def test_doctor_names_a_worker_whose_clock_is_wrong(babylon: Babylon, clock: MovedClock) -> None:
    clock.move(TEN_MINUTES)
    start(babylon, "cpu-worker", clock)
    babylon.start("gpu-worker")

    def found() -> dict[str, str]:
        ended = subprocess.run(
            [sys.executable, "-m", "babylon_tasks", "doctor", "--json"],
            env={**os.environ, **babylon.stack.variables},
            check=False,
            capture_output=True,
            text=True,
        )
        findings = json.loads(ended.stdout)["findings"]
        return {
            one["detail"].partition("@")[0]: one["outcome"]
            for one in findings
            if one["check"] == "clock"
        }

    def of_workers() -> dict[str, str]:
        workers = ("cpu", "gpu.acceptance")
        return {name: outcome for name, outcome in found().items() if name in workers}

    assert until("both answer", lambda: len(both := of_workers()) == 2 and both) == {
        "cpu": "warn",
        "gpu.acceptance": "ok",
    }
