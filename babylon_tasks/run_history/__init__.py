"""What the report of a lineage's run shows: rows of the database in, curves and marks out. PURE.

Windows are the time of everything in it, since hours may be played or filled in long after they
were: a decision belongs to the newest window that the lineage had trained on when it was made.
"""

from babylon_tasks.run_history.curves import (
    OTHERS,
    HeldOutPoint,
    Rewards,
    RunHistory,
    RunMark,
    RunMarkKind,
    RunPoint,
    ScreenPoint,
    ServedFrom,
)
from babylon_tasks.run_history.history import run_history
from babylon_tasks.run_history.points import MOST_POINTS

__all__ = [
    "MOST_POINTS",
    "OTHERS",
    "HeldOutPoint",
    "Rewards",
    "RunHistory",
    "RunMark",
    "RunMarkKind",
    "RunPoint",
    "ScreenPoint",
    "ServedFrom",
    "run_history",
]
