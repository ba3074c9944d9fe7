"""How it is decided whether a checkpoint serves: ``BABYLON_PROMOTION_MODE``, and what it needs.

PURE.
"""

from __future__ import annotations

from enum import StrEnum

from babylon_tasks.settings import Settings

_EVALUATES = "cpu"  # the backend that reports how probable recorded answers are


class PromotionMode(StrEnum):
    """What a new checkpoint must show before it serves."""

    SCREENED = "screened"  # that it has not collapsed
    PROVEN = "proven"  # that, and a trial against the anchor
    EVALUATED = "evaluated"  # a value on held-out groups as good as that of what serves
    MANUAL = "manual"  # nothing: an operator promotes


def chosen(settings: Settings, backend: str) -> tuple[PromotionMode, str]:
    """Choose the mode for a backend, and say why."""
    if settings.promotion_mode != "auto":
        mode = PromotionMode(settings.promotion_mode)
        return mode, f"BABYLON_PROMOTION_MODE={mode}"
    mode = PromotionMode.EVALUATED if backend == _EVALUATES else PromotionMode.SCREENED
    return mode, f"the default of backend {backend}"


def impediment(mode: PromotionMode, settings: Settings, backend: str) -> tuple[str, str] | None:
    """Say why nothing can be promoted in this mode, and what to do; None where it can.

    No other mode is chosen instead: it would show less.
    """
    if mode is PromotionMode.MANUAL:
        return None
    if mode is PromotionMode.EVALUATED and backend != _EVALUATES:
        return (
            f"backend {backend} cannot evaluate checkpoints, so none is promoted",
            "set BABYLON_PROMOTION_MODE=screened, or manual",
        )
    if settings.held_out_share == 0:
        return (
            "BABYLON_HELD_OUT_SHARE=0: there are no held-out windows, so nothing is promoted",
            "give it a share, such as 0.1; or set BABYLON_PROMOTION_MODE=manual",
        )
    return None
