"""A copy of what is deployed, for tests that break it."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import copy_deployed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_deployed(tmp_path)
