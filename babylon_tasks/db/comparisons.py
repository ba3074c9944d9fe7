"""Comparisons and their windows: rows are only added, which the database sees to."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from babylon_tasks.arms import Arms
from babylon_tasks.comparison.agents import AgentHour, AskingAgents
from babylon_tasks.comparison.collapse import ArmAnswers
from babylon_tasks.comparison.history import WindowOnRecord
from babylon_tasks.comparison.rule import canonical
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_pairs,
    fetch_value,
    fetch_values,
)
from babylon_tasks.windows import window_id, window_start

LATE = "late"  # in place of a conclusion: a later window was compared before
_LOOKED_AT = 1000  # windows, of which some have nobody on trial
_PAST = timedelta(hours=24)
_GRACE_HOURS = 6  # that a window without rewards keeps later ones waiting


class Comparison(Struct, frozen=True):
    """A comparison with its end; ``parameters`` are JSON, as they were written."""

    id: int
    anchor_step: int | None
    anchor_model: str | None
    parameters: str
    began_window: str
    actor: str
    began_at: datetime
    ended_why: str | None
    ended_by: str | None
    ended_at: datetime | None


class ComparisonWindow(Struct, frozen=True):
    """A window of a comparison; a late one has no figures. They are JSON, as they were written."""

    window: str
    reward_version: int
    conclusion: str
    observation: str | None
    state: str | None
    evidence: str | None
    compared_at: datetime


class NextWindow(Struct, frozen=True):
    """A window that can be compared."""

    window: str
    reward_version: int


class ComparedFigures(Struct, frozen=True):
    """What a window showed, the state after it, and the evidence."""

    observation: Struct
    state: Struct
    evidence: Struct


def begin(
    connection: Connection,
    lineage: str,
    *,
    anchor_step: int | None,
    anchor_model: str | None,
    parameters: Struct,
    began_window: str,
    actor: str,
) -> None:
    """Begin a comparison, under the lineage's lock."""
    execute(
        connection,
        "comparisons.begin",
        lineage=lineage,
        anchor_step=anchor_step,
        anchor_model=anchor_model,
        parameters=canonical(parameters).decode(),
        began_window=began_window,
        actor=actor,
    )


def end(connection: Connection, comparison_id: int, *, reason: str, actor: str) -> None:
    """End a running comparison, under the lineage's lock."""
    execute(connection, "comparisons.end", id=comparison_id, reason=reason, actor=actor)


def newest(connection: Connection, lineage: str) -> Comparison | None:
    """Read the newest comparison, running or not."""
    return fetch_one(connection, "comparisons.newest", Comparison, lineage=lineage)


def get(connection: Connection, lineage: str, comparison_id: int) -> Comparison | None:
    """Read a comparison of the lineage by its number."""
    return fetch_one(connection, "comparisons.get", Comparison, lineage=lineage, id=comparison_id)


def running(connection: Connection, lineage: str) -> Comparison | None:
    """Read the comparison that has not ended; a lineage has one at most."""
    found = newest(connection, lineage)
    return None if found is None or found.ended_at is not None else found


def next_window(
    connection: Connection, comparison_id: int, *, first: str, last: str
) -> NextWindow | None:
    """Find the earliest window from ``first`` on that was not taken; before ``last`` it is late."""
    return fetch_one(
        connection,
        "comparisons.next_window",
        NextWindow,
        id=comparison_id,
        first=first,
        last=last,
        grace=_GRACE_HOURS,
    )


def agents(
    connection: Connection, lineage: str, window: str, reward_version: int, arms: Arms
) -> list[AgentHour]:
    """Read the agents that were active in a window."""
    return fetch_all(
        connection,
        "comparisons.agents",
        AgentHour,
        lineage=lineage,
        window=window,
        version=reward_version,
        since=window_id(window_start(window) - _PAST),
        starts_at=window_start(window),
        control_step=arms.control_step,
        control_model=arms.control_model,
        examinee_step=arms.examinee_step,
    )


def answers(connection: Connection, lineage: str, window: str) -> list[ArmAnswers]:
    """Read what the gateway captured of each arm in a window."""
    return fetch_all(
        connection,
        "comparisons.answers",
        ArmAnswers,
        lineage=lineage,
        window=window,
        starts_at=window_start(window),
    )


def add(
    connection: Connection,
    comparison_id: int,
    window: NextWindow,
    conclusion: str,
    figures: ComparedFigures | None,
    *,
    moment: datetime,
) -> None:
    """Record a window, under the lineage's lock; ``moment``: when that was taken."""

    def text(name: str) -> str | None:
        return None if figures is None else canonical(getattr(figures, name)).decode()

    execute(
        connection,
        "comparisons.add",
        id=comparison_id,
        window=window.window,
        version=window.reward_version,
        conclusion=conclusion,
        observation=text("observation"),
        state=text("state"),
        evidence=text("evidence"),
        moment=moment,
    )


def windows(connection: Connection, comparison_id: int) -> list[ComparisonWindow]:
    """List a comparison's windows in their order."""
    return fetch_all(connection, "comparisons.windows", ComparisonWindow, id=comparison_id)


def recorded(connection: Connection, comparison_id: int) -> list[WindowOnRecord]:
    """List a comparison's windows in their order, with their evidence alone."""
    return fetch_all(connection, "comparisons.recorded", WindowOnRecord, id=comparison_id)


def last(connection: Connection, comparison_id: int) -> ComparisonWindow | None:
    """Read the last window that was compared."""
    return fetch_one(connection, "comparisons.last", ComparisonWindow, id=comparison_id)


def windows_after(connection: Connection, comparison_id: int, after: str, to: str) -> list[str]:
    """List the windows that were compared after one of them, up to another."""
    return fetch_values(
        connection, "comparisons.windows_after", str, id=comparison_id, after=after, to=to
    )


def decided_before(connection: Connection, comparison_id: int, moment: datetime) -> str:
    """Find the last window that was compared before a moment; "" for none."""
    found = fetch_value(
        connection, "comparisons.decided_before", str, id=comparison_id, moment=moment
    )
    return found or ""


def counts(connection: Connection, comparison_id: int) -> dict[str, int]:
    """Count a comparison's windows by what they led to."""
    return fetch_pairs(connection, "comparisons.counts", str, int, id=comparison_id)


def done(connection: Connection, lineage: str, comparison_id: int) -> dict[str, str]:
    """Map the windows that led to something to what was done."""
    return fetch_pairs(connection, "comparisons.done", str, str, lineage=lineage, id=comparison_id)


def asking(connection: Connection, lineage: str) -> AskingAgents:
    """Read which agents of the newest window with rewards asked the gateway, and for what."""
    found = fetch_one(connection, "comparisons.asking", AskingAgents, lineage=lineage)
    assert found is not None  # noqa: S101  # an aggregate has a row
    return found


def trials(connection: Connection, lineage: str) -> list[list[float]]:
    """Read by how much examinees differed from the anchor lately, trial by trial."""
    return fetch_values(connection, "comparisons.trials", list, lineage=lineage, limit=_LOOKED_AT)


def has_proven(connection: Connection, lineage: str) -> bool:
    """Check whether a checkpoint of the lineage was ever proven."""
    return bool(fetch_value(connection, "comparisons.has_proven", bool, lineage=lineage))
