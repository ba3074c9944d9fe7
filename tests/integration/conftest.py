"""Settings of tests whose windows wait for outcomes, or never do; who signs certificates."""

from __future__ import annotations

import pytest
from factories import EVER
from scoring_runs import MakeSettings
from tls import Authority

from babylon_tasks.settings import Settings


@pytest.fixture
def patient(make_settings: MakeSettings) -> Settings:
    """Windows wait for a century."""
    return make_settings(lookback_hours=int(EVER), outcome_wait_hours=float(EVER))


@pytest.fixture
def hasty(make_settings: MakeSettings) -> Settings:
    """Windows never wait."""
    return make_settings(lookback_hours=int(EVER), outcome_wait_hours=0)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the servers' certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that signed nothing here."""
    return Authority(tmp_path_factory.mktemp("other"))
