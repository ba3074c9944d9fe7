"""A demo has the machine to itself: torch gets every core unless somebody has said otherwise."""

from __future__ import annotations

from babylon_tasks.sandbox.demo_threads import demo_threads
from babylon_tasks.training.machine import usable_cores


def test_torch_has_every_usable_core() -> None:
    assert demo_threads({}) == {"BABYLON_TORCH_THREADS": str(usable_cores())}


def test_what_somebody_has_set_stays() -> None:
    assert demo_threads({"BABYLON_TORCH_THREADS": "1"}) == {}
    assert demo_threads({"OMP_NUM_THREADS": "3"}) == {}
