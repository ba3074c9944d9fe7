"""Compare a row with the one that was scored: Babylon rewrites, flags, moves, deletes. Pure."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.decode import content_hash, decode
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import RawTrajectory, Rejection, Trajectory


class RowChange(Struct, frozen=True):
    """The row's content differs from the content that was scored."""

    trajectory_id: str


def compare_with_score(
    trajectory_id: str, window: str, content: str | None, raw: RawTrajectory | None
) -> Trajectory | Rejection | RowChange:
    """Decode the current row unless it has changed; ``content`` is the hash stored with the score.

    ``raw`` is None where the row is gone. The current flags count: a row that has since become an
    evaluation row, or been used by another trainer, is refused for that. Scores of 0.1.0 have no
    hash, so their rows count as changed.
    """
    if raw is None:
        return Rejection(
            trajectory_id,
            Stage.DATASET,
            Reason.DELETED,
            "Babylon has deleted it since it was scored",
        )
    flagged = raw.is_evaluation or not raw.is_training_data or raw.already_used
    if not flagged and raw.window_id != window:
        detail = f"Babylon has moved it to {raw.window_id} since it was scored"
        return Rejection(trajectory_id, Stage.DATASET, Reason.MOVED, detail)
    if not flagged and content_hash(raw) != content:
        return RowChange(trajectory_id)
    decoded = decode(raw)
    if isinstance(decoded, Rejection):
        return Rejection(trajectory_id, Stage.DATASET, decoded.reason, decoded.detail)
    return decoded
