"""The kinds of events in ``training.events``: the values are stored, so they never change."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """What happened to a window, a step or a checkpoint, as `babylon-tasks why` lists it."""

    # A window enters the state of this name.
    OPENED = "opened"
    SEALED = "sealed"
    SCORED = "scored"
    TRAINING = "training"
    TRAINED = "trained"
    HELD_OUT = "held_out"
    SKIPPED = "skipped"
    FAILED = "failed"
    # Other events of a window.
    CLAIM_LOST = "claim_lost"
    SCORING_FAILED = "scoring_failed"
    JUDGED = "judged"  # graded by an LLM, see scorer `ruler`
    LATE_ARRIVALS = "late_arrivals"
    SCORE_ANEW = "score_anew"
    ROWS_CHANGED = "rows_changed"
    GROUPED = "grouped"
    ADVICE = "advice"
    TRIPPED = "tripped"  # a tripwire, whose policy is in the detail
    TRIPWIRES_ACCEPTED = "tripwires_accepted"
    TRAINED_IN_PART = "trained_in_part"
    TRAINING_FAILED = "training_failed"
    RETRIED = "retried"
    REOPENED = "reopened"
    RETURNED = "returned"  # what a dead branch has used of it can be used again
    ROWS_PRUNED = "rows_pruned"
    # A step.
    STEP_PLANNED = "step_planned"
    STEP_RUNNING = "step_running"
    STEP_TRAINED = "step_trained"
    STEP_COMMITTED = "step_committed"
    STEP_FAILED = "step_failed"
    STEP_TAKEN_OVER = "step_taken_over"
    STEP_POSTPONED = "step_broke_off"
    STEP_INTERRUPTED = "step_interrupted"
    # A checkpoint.
    CHECKPOINT_DISCARDED = "checkpoint_discarded"
    CHECKPOINT_SET_ASIDE = "checkpoint_set_aside"
    CHECKPOINT_PRUNED = "checkpoint_pruned"
    BRANCH_ENDED = "branch_ended"
    BRANCH_REVIVED = "branch_revived"
    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"
    # A comparison.
    COMPARISON_BEGUN = "comparison_begun"
    COMPARISON_ENDED = "comparison_ended"
    CONCLUDED = "concluded"  # and acted upon; the detail says how
    TRAINING_PAUSED = "training_paused"
    TRAINING_RESUMED = "training_resumed"
    # Planning, of a lineage.
    BUDGET_SPENT = "budget_spent"
    BUDGET_LEFT = "budget_left"  # again
