"""The names of our tasks, as messages carry them: older messages must still find their task.

Where arguments change in a way that the older code cannot read, a new name gets the next version.
"""

from __future__ import annotations

SCORE_WINDOW = "babylon.score_window.v1"
TRAIN_WINDOW = "babylon.train_window.v1"
DISCOVER = "babylon.discover.v1"
RECONCILE = "babylon.reconcile.v1"
