"""What ``steps.job_reference`` may be besides the id of a job at W&B."""

from __future__ import annotations

ASKED = "?"  # W&B was asked for a job, and its answer is not known: there may be one
NOT_ASKED = ""  # there is none; stored as NULL
