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

    HARM = "harm"  # shown by a screen, a comparison, an operator, or near-constant answers
    NO_BETTER = "no_better"  # by an evaluation on held-out groups, as is one equal step in ten
