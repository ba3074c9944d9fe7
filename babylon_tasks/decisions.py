"""The decisions about a checkpoint; the values are stored in ``training.promotions``."""

from __future__ import annotations

from enum import StrEnum


class Decision(StrEnum):
    """The gate promotes or holds; an operator promotes or rolls back."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"


class RefusalKind(StrEnum):
    """Why a checkpoint was refused: ``refused`` among a decision's figures, or False."""

    HARM = "harm"  # shown by a screen, a comparison or an operator
    NO_BETTER = "no_better"  # by an evaluation on held-out groups, within its noise
