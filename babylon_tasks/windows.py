"""Window ids: one UTC hour, ``YYYY-MM-DDTHH:00``, half-open ``[start, start + 1 h)``."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from babylon_tasks.errors import BadWindowId

WINDOW = timedelta(hours=1)
_SHAPE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:00", re.ASCII)
_WRITTEN = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)


def window_id(moment: datetime) -> str:
    """Return the id of the window that contains ``moment``, which must be timezone-aware."""
    if moment.tzinfo is None:
        raise BadWindowId(f"{moment!r} has no time zone; windows are UTC hours, pass an aware time")
    # Not strftime: its %Y is not padded everywhere, and ids are compared as strings.
    return f"{moment.astimezone(UTC).isoformat()[:13]}:00"


def window_start(window: str) -> datetime:
    """Return the aware UTC start of a window; raises BadWindowId."""
    # The first system read these ids as local time and shifted its windows: always UTC here.
    if not _SHAPE.fullmatch(window):
        raise BadWindowId(f"{window!r} is not a window id; write it as 2026-01-31T09:00 (UTC hour)")
    try:
        return datetime.strptime(window, "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadWindowId(f"{window!r} is not a real hour: {error}") from error


def moment_of(text: str) -> datetime:
    """Read a time that a person wrote, UTC where it has no offset; raises BadWindowId."""
    written = text.strip()
    if not _WRITTEN.fullmatch(written):
        raise BadWindowId(
            f"{text!r} is not a time of an hour; write 2026-01-31T09, or any moment of that hour "
            "(UTC where no offset is given)"
        )
    try:
        moment = datetime.fromisoformat(written.upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadWindowId(f"{text!r} is not a real hour: {error}") from error


def hour_of(text: str) -> str:
    """Return the id of the window that a time, as a person wrote it, lies in; raises BadWindowId.

    For what people type alone: ids in rows and messages are of one shape.
    """
    return window_id(moment_of(text))


def is_window_id(text: str) -> bool:
    """Check whether a text is the id of a window."""
    try:
        window_start(text)
    except BadWindowId:
        return False
    return True


def window_end(window: str) -> datetime:
    """Return the aware UTC end (exclusive) of a window; raises BadWindowId."""
    return moved(window_start(window), WINDOW)


def captures_span(window: str) -> tuple[datetime, datetime]:
    """Return the time in which the calls of a window's trajectories may have been captured."""
    return moved(window_start(window), -WINDOW), moved(window_end(window), WINDOW)


def moved(moment: datetime, by: timedelta) -> datetime:
    """Return a UTC moment later or earlier, or the last or first one that there is.

    Rows of others name hours of the years 1 and 9999: such a row is as good as any.
    """
    try:
        return moment + by
    except OverflowError:
        end = datetime.max if by > timedelta() else datetime.min
        return end.replace(tzinfo=UTC)


def is_held_out(window: str, lineage: str, share: float) -> bool:
    """Check whether a window is held out: a fixed share by hash, stable for the lineage."""
    digest = hashlib.blake2b(f"{lineage}\0{window}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
