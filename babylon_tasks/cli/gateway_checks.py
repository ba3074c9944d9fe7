"""What of the gateway's captures is not learned from, and what to do: for `doctor` and `status`."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.dataset.eligibility import NONE
from babylon_tasks.db import reports
from babylon_tasks.db.reports import CapturedHour, NewestCaptures
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

_TODO = (
    "set BABYLON_GATEWAY_TEMPERATURE=1, so that checkpoints sample at 1 whatever agents request, "
    "and leave top_p out of the agents' requests"
)


_SERVER = (
    "look at the log of the gateway (server_probe.ids_missed): its server does not report the ids "
    "and log-probabilities of what it samples"
)


def captures(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Check that what the gateway captured can be learned from."""
    newest = reports.newest_captures(connection, settings.lineage)
    if newest.captured:
        wrong = text_only(newest)
        well = f"the newest {newest.captured} captured answers have the ids of their tokens"
        yield finding("gateway", wrong is None, wrong or well, _SERVER, otherwise="warn")
    found = reports.captured_hour(connection, settings.lineage)
    if found is not None:
        wrong = _tempered(found, settings)
        well = f"{found.joined} calls of {found.window} are joined"
        yield finding("gateway", wrong is None, wrong or well, _TODO, otherwise="warn")


def text_only(newest: NewestCaptures) -> str | None:
    """Say that captures have texts only; None where they have more."""
    if not newest.text_only:
        return None
    return (
        f"{newest.text_only} of the newest {newest.captured} captured answers are text only "
        f"({newest.lacks})"
    )


def remedy(found: CapturedHour, settings: Settings) -> str | None:
    """Say in one line what cannot be learned from, and what to do; None where all can."""
    wrong = _tempered(found, settings)
    return None if wrong is None else f"{wrong}; {_TODO}"


def _tempered(found: CapturedHour, settings: Settings) -> str | None:
    if not found.tempered or NONE in settings.labels:  # that label takes any temperature
        return None
    return (
        f"{found.tempered} of {found.joined} joined calls of {found.window} are refused as "
        "tempered: they were sampled at another temperature or top_p than 1"
    )
