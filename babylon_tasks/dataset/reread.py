"""What has become of a row since it was scored: Babylon rewrites, flags, moves, deletes. Pure."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.dataset.groups import STAGE
from babylon_tasks.decode import content_hash, decode
from babylon_tasks.records import RawTrajectory, Rejection, Trajectory


class Changed(Struct, frozen=True):
    """The row says something else than what its reward was made from."""

    trajectory_id: str


def reread(
    trajectory_id: str, window: str, content: str | None, raw: RawTrajectory | None
) -> Trajectory | Rejection | Changed:
    """A row of now against the score of then; ``content`` is the hash that the score kept.

    ``raw`` is None where the row is gone. Flags count as they are now: what came to be an
    evaluation's, or used by another training, is refused by that name. A score of a version that
    kept no hash tells nothing about the row, so it counts as changed.
    """
    if raw is None:
        return Rejection(
            trajectory_id, STAGE, "deleted", "Babylon has deleted it since it was scored"
        )
    flagged = raw.is_evaluation or not raw.is_training_data or raw.already_used
    if not flagged and raw.window_id != window:
        detail = f"Babylon has moved it to {raw.window_id} since it was scored"
        return Rejection(trajectory_id, STAGE, "moved", detail)
    if not flagged and content_hash(raw) != content:
        return Changed(trajectory_id)
    decoded = decode(raw)
    if isinstance(decoded, Rejection):
        return Rejection(trajectory_id, STAGE, decoded.reason, decoded.detail)
    return decoded
