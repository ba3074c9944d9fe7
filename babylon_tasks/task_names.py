"""The names of our tasks in messages: older messages must still find their task.

If arguments change in a way that older code cannot read, the name gets a new version.
"""

from __future__ import annotations

SCORE_WINDOW = "babylon.score_window.v1"
TRAIN_WINDOW = "babylon.train_window.v1"
DISCOVER = "babylon.discover.v1"
RECONCILE = "babylon.reconcile.v1"
PRUNE = "babylon.prune.v1"
