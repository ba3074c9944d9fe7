"""Settings of tests whose windows wait for outcomes, or never do."""

from __future__ import annotations

import pytest
from factories import EVER
from scoring_runs import MakeSettings

from babylon_tasks.settings import Settings


@pytest.fixture
def patient(make_settings: MakeSettings) -> Settings:
    """Windows wait for a century."""
    return make_settings(lookback_hours=int(EVER), outcome_wait_hours=float(EVER))


@pytest.fixture
def hasty(make_settings: MakeSettings) -> Settings:
    """Windows never wait."""
    return make_settings(lookback_hours=int(EVER), outcome_wait_hours=0)
