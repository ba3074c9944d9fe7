"""What became of a captured call."""

from __future__ import annotations

from enum import StrEnum


class CaptureState(StrEnum):
    """A word for metrics and the log; all but the first are losses."""

    WRITTEN = "written"  # to Postgres
    QUEUE_FULL = "queue_full"
    SPOOL_FULL = "spool_full"
    DISK = "disk"
    TORN = "torn"  # by a crash
    TOO_LARGE = "too_large"  # another server's answer
    UNREADABLE = "unreadable"  # its texts
    REFUSED = "refused"  # by Postgres, for good
