"""What a fault is: called with the system, it strikes when the block begins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from acceptance.faults.system import System

Strike = Callable[[System], AbstractContextManager[None]]
