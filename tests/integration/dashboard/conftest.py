"""``site``: the dashboard over a run on a real Postgres, and a client with its login."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from evaluated_checkpoints import evaluated, held_out_windows, trained
from peer import PeerTrainer
from scoring_runs import MakeSettings

from babylon_tasks.dashboard.process import Dashboard
from babylon_tasks.db.session import Connection
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

LOGIN = ("someone", "a-password-of-a-test")


@pytest.fixture
def dashboard_settings(make_settings: MakeSettings) -> Settings:
    """A free port and a login."""
    return make_settings(min_eval_groups=3, dashboard_port=0, dashboard_login=":".join(LOGIN))


@pytest.fixture
def learned(connection: Connection, dashboard_settings: Settings) -> None:
    """Two steps: the first is promoted, the second refused; later somebody rolls back."""
    trainer = PeerTrainer(dashboard_settings.data_dir, values={0: 0.5, 1: 0.7, 2: 0.4})
    held_out_windows(connection)
    for n, action in ((1, "promoted"), (2, "held")):
        trained(connection, dashboard_settings, trainer, n)
        assert evaluated(dashboard_settings, trainer).action == action
    serving.rollback(connection, "babylon", reason="it looked odd", actor="test")


@pytest.fixture
def dashboard(dashboard_settings: Settings) -> Iterator[Dashboard]:
    """It listens."""
    made = Dashboard(dashboard_settings)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(dashboard: Dashboard) -> Iterator[httpx.Client]:
    """Each request has the login unless it says otherwise."""
    address = f"http://127.0.0.1:{dashboard.port}"
    with httpx.Client(base_url=address, auth=LOGIN, timeout=60) as client:
        yield client
