"""What of the gateway's captures is not learned from, and what to do: for `doctor` and `status`."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.dataset.eligibility import NONE
from babylon_tasks.db import reports
from babylon_tasks.db.reports import CapturedHour
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

_TODO = (
    "set BABYLON_GATEWAY_TEMPERATURE=1, so that checkpoints are asked at 1 whatever agents ask, "
    "and leave top_p out of what they ask"
)


def captures(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Check that joined calls of the newest planned hour can be learned from."""
    found = reports.captured_hour(connection)
    if found is not None:
        wrong = _tempered(found, settings)
        well = f"{found.joined} calls of {found.window} are joined"
        yield finding("gateway", wrong is None, wrong or well, _TODO, otherwise="warn")


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
