"""A gateway between servers that the test plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from gateways import Played, opened
from upstream import Upstream

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings


@pytest.fixture
def played(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> Callable[..., AbstractContextManager[Played]]:
    """``played(...)``: a gateway with these settings; ``m`` is the other server's model."""

    @contextmanager
    def open_one(**values: Any) -> Iterator[Played]:
        with Upstream() as trainer, Upstream() as other:
            trainer.says("buy")
            other.says("hold")
            values["gateway_upstreams"] = {"other": {"base_url": other.url, "models": ["m"]}}
            with opened(make_settings, connection, trainer.url, tmp_path, **values) as url:
                yield Played(url, trainer, other)

    return open_one
