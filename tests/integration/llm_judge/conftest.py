"""A judge on the loopback, and settings whose scorer asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from judge_peer import JudgePeer
from judged_windows import KEY, MakeSettings, grade

from babylon_tasks.settings import Settings


@pytest.fixture(scope="module")
def service() -> Iterator[JudgePeer]:
    with JudgePeer(KEY, grade) as running:
        yield running


@pytest.fixture
def peer(service: JudgePeer) -> JudgePeer:
    service.behave()
    return service


@pytest.fixture
def judged(make_settings: MakeSettings, peer: JudgePeer) -> Callable[..., Settings]:
    def make(**values: Any) -> Settings:
        return make_settings(
            **{
                "scorer": "ruler",
                "ruler_model": "openai/gpt-4o-mini",
                "ruler_base_url": peer.url,
                "ruler_api_key": KEY,
                "ruler_timeout_seconds": 3,
                **values,
            }
        )

    return make
