"""Why a trajectory is not used, why no step takes a window, why it is scored anew or not opened.

The values are stored (``training.rejections``, ``consumption``, ``windows``, ``unopened_windows``),
so they never change. docs/recording.md and docs/operations.md say what to do about each.
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a trajectory was rejected."""

    SEAL = "seal"
    DECODE = "decode"
    SCORE = "score"
    DATASET = "dataset"


class Reason(StrEnum):
    """Why a trajectory is rejected."""

    LATE = "late"

    # Decoding: the row itself.
    EVALUATION_ROW = "evaluation_row"
    NOT_TRAINING_DATA = "not_training_data"
    ALREADY_USED = "already_used"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    MALFORMED_JSON = "malformed_json"
    BAD_SHAPE = "bad_shape"
    NOT_FINITE = "not_finite"
    UNSTORABLE_TEXT = "unstorable_text"
    BAD_LOGPROBS = "bad_logprobs"
    NO_STEPS = "no_steps"
    NO_LLM_CALLS = "no_llm_calls"

    # Scoring.
    NO_EVIDENCE = "no_evidence"

    # Planning: what happened to the row since it was scored.
    DELETED = "deleted"
    MOVED = "moved"
    CHANGED = "changed"
    HOUR_PRUNED = "hour_pruned"  # it may have been used, which is no longer on record

    # Planning: its calls, none of which may be trained on.
    TOOLS = "tools"
    IMAGES = "images"
    OTHER_POLICY = "other_policy"
    UNKNOWN_POLICY_STEP = "unknown_policy_step"
    FUTURE_POLICY = "future_policy"
    STALE = "stale"
    NO_LOGPROBS = "no_logprobs"
    NO_TOKEN_IDS = "no_token_ids"  # noqa: S105
    TEMPERED = "tempered"
    SHAPED = "shaped"
    NOT_PARENT = "not_parent"
    AMBIGUOUS_CAPTURE = "ambiguous_capture"  # several captured calls have its texts, and differ

    # The trainer's inspection of its calls.
    FOREIGN_TOKEN = "foreign_token"  # noqa: S105
    ANSWER_DIFFERS = "answer_differs"
    PROMPT_DIFFERS = "prompt_differs"
    TEMPLATE_CHANGES_ANSWER = "template_changes_answer"
    TEMPLATE_ERROR = "template_error"
    TOO_LONG = "too_long"
    WEIGHTS_GONE = "weights_gone"

    # Training: its group, alone in a step, needs more memory than there is.
    OUT_OF_MEMORY = "out_of_memory"


class UsedAs(StrEnum):
    """What used a trajectory up: a step, or a group that teaches nothing."""

    TRAINED = "trained"
    NO_SPREAD = "no_spread"
    ONLY_ACTIVITY = "only_activity"
    SETTLED = "settled"
    TOO_SMALL = "too_small"


class LeftOut(StrEnum):
    """Why a supervised step leaves an answer, or a trajectory, out: it stays as it was.

    Beside these it may be a ``Reason`` or a ``UsedAs``. Stored in events only.
    """

    NOT_BETTER = "not_better"
    USED = "used"
    CUT_OFF = "cut_off"
    NO_ANSWER = "no_answer"
    TRIPPED = "tripped"  # its window, before this step: see tripwires.py


class WindowReason(StrEnum):
    """Why no step takes a window, if not for the most common reason of its trajectories."""

    TOO_FEW_AGENTS = "too_few_agents"
    NOTHING_USABLE = "nothing_usable"
    NO_SPREAD = "no_spread"
    ONLY_ACTIVITY = "only_activity"
    NOTHING_TRAINABLE = "nothing_trainable"
    ROWS_CHANGED = "rows_changed"  # for now: it is to be scored anew


class ScoreAnewReason(StrEnum):
    """Why a window is scored anew."""

    ROWS_CHANGED = "rows changed"
    OUTCOMES = "outcomes came or changed"
    FREED = "a dead branch had used some of it"  # which the newest reward version has not
    WAIT_IS_OVER = "the wait for outcomes is over"  # not stored: it follows from the hour


class UnopenedReason(StrEnum):
    """Why a window id of Babylon's rows has no window."""

    BEFORE_LOOKBACK = "before_lookback"
    NOT_BEGUN = "not_begun"
    BAD_WINDOW_ID = "bad_window_id"


class JudgeFailure(StrEnum):
    """Why a judge's answers gave no usable grades."""

    NO_ANSWER = "no_answer"
    TIMEOUT = "timeout"
    DIED = "died"  # its process
    MALFORMED = "malformed"
    IDS = "ids"  # it graded others than it was asked about
    BOUNDS = "bounds"  # a grade outside [0, 1]
    DISAGREEMENT = "disagreement"  # between its two answers
    TOO_LONG = "too_long"  # it was not asked: no other would fit into the same question
    GIVEN_UP = "given_up"  # it was not asked: earlier questions went unanswered
