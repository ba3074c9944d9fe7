"""Another release of ART than this process has: ``make art`` names the Python that has it.

So the whole loop runs with a release for whose Python there is no torch, against a peer of W&B that
trains with this process's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PYTHON = os.environ.get("TESTS_ART_PYTHON", sys.executable)


@contextmanager
def other_art() -> Iterator[None]:
    """What is started meanwhile runs with that release."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", PYTHON)
        yield
