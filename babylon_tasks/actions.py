"""What one call did, as its JSON, its metrics and Flower name it."""

from __future__ import annotations

from enum import StrEnum


class TrainAction(StrEnum):
    """What a call to train did."""

    COMMITTED = "committed"
    ADOPTED = "adopted"  # another's finished run was committed
    SKIPPED = "skipped"  # nothing to train on in the window, or its state does not allow it
    BUSY = "busy"  # another worker trains the lineage, or a step or window waits
    PAUSED = "paused"  # after repeated faults of the environment
    IDLE = "idle"  # no window waits
    FAILED = "failed"  # this attempt


class GateAction(StrEnum):
    """What a call to evaluate did; the label ``action`` of ``babylon_evaluations_total``."""

    PROMOTED = "promoted"
    HELD = "held"
    IDLE = "idle"  # the newest checkpoint serves, or was decided about before


class ReconcileAction(StrEnum):
    """What reconcile repairs; the label ``action`` of ``babylon_reconcile_actions_total``."""

    CLAIM_RELEASED = "claim_released"
    WINDOW_FAILED = "window_failed"
    LATE_REJECTED = "late_rejected"
    SENT_TO_SCORE = "sent_to_score"
    SENT_TO_TRAIN = "sent_to_train"
    SENT_TO_EVALUATE = "sent_to_evaluate"
    SEALED_ANEW = "sealed_anew"
