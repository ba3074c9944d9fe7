"""The decisions about a checkpoint; the values are stored in ``training.promotions``."""

from __future__ import annotations

from enum import StrEnum


class Decision(StrEnum):
    """The gate promotes or holds; an operator promotes or rolls back."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"
