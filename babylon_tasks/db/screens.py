"""Screens and their answers: append only, but for a screen's end and the retention of answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks.db.scored_trajectories import ScoredTrajectory
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_pairs,
    fetch_value,
    fetch_values,
)

_ANSWER_BYTES = 1000  # of each answer that are kept
_PRUNED = 500  # screens of one call


class Screen(Struct, frozen=True):
    """A row of ``training.screens``; without ``result`` it has not ended, and decides nothing."""

    id: int
    step: int
    serving_step: int
    against: str
    set_hash: str
    questions: int
    actor: str
    began_at: datetime
    result: str | None
    reason: str | None
    figures: dict[str, Any] | None
    ended_at: datetime | None


class ScreenSubject(Struct, frozen=True, kw_only=True):
    """What is screened: a candidate against what serves, or against recorded answers."""

    lineage: str
    step: int
    serving_step: int
    against: str
    set_hash: str


class ScreenSample(Struct, frozen=True, kw_only=True):
    """One answer to a screen's question; ``candidate``: whether it is the candidate's."""

    place: int
    candidate: bool
    window_id: str
    trajectory_id: str
    call_number: int
    prompt_hash: bytes
    answer: str
    answer_hash: bytes
    decides: str
    valid: bool
    rightness: float | None
    length: int
    repeats: bool
    tokens: int | None
    finish_reason: str | None
    prompt_tokens: int | None = None


class KnownSample(Struct, frozen=True):
    """What the rule needs of an answer."""

    place: int
    candidate: bool
    decides: str
    valid: bool
    rightness: float | None
    length: int
    repeats: bool


def held_out_windows(connection: Connection, windows: int) -> dict[str, int]:
    """Map the newest held-out windows to their reward versions, newest first."""
    return fetch_pairs(connection, "screens.windows", str, int, windows=windows)


def listed(
    connection: Connection, window: str, reward_version: int, limit: int
) -> list[ScoredTrajectory]:
    """List some scored trajectories of a window, always the same ones."""
    return fetch_all(
        connection,
        "screens.listed",
        ScoredTrajectory,
        window=window,
        version=reward_version,
        limit=limit,
    )


def markets_trained_on(connection: Connection, window: str, lineage: str) -> Collection[str]:
    """Find markets of a window that the lineage has learned from in other windows."""
    found = fetch_values(
        connection, "screens.markets_trained_on", str, window=window, lineage=lineage
    )
    return frozenset(found)


def begin(
    connection: Connection,
    subject: ScreenSubject,
    *,
    questions: int,
    terms: Mapping[str, Any],
    actor: str,
) -> Screen:
    """Begin a screen, or go on with the one of the same questions that is open."""
    named = msgspec.structs.asdict(subject)
    while True:  # another may end it between the two statements
        execute(
            connection,
            "screens.begin",
            **named,
            questions=questions,
            terms=Jsonb(dict(terms)),
            actor=actor,
        )
        found = fetch_one(connection, "screens.open", Screen, **named)
        if found is not None:
            return found


def ended(
    connection: Connection, subject: ScreenSubject, terms: Mapping[str, Any]
) -> Screen | None:
    """Read the newest ended screen of these questions that counts by these terms."""
    named = msgspec.structs.asdict(subject)
    return fetch_one(connection, "screens.ended", Screen, **named, terms=Jsonb(dict(terms)))


def of_step(connection: Connection, lineage: str, step: int, *, limit: int) -> list[Screen]:
    """List the screens of a checkpoint, newest first."""
    return fetch_all(connection, "screens.of_step", Screen, lineage=lineage, step=step, limit=limit)


def refused(connection: Connection, lineage: str, step: int) -> bool:
    """Check whether a checkpoint's newest screen refused it."""
    return bool(fetch_value(connection, "screens.refused", bool, lineage=lineage, step=step))


def passed(connection: Connection, lineage: str) -> list[int]:
    """List the living checkpoints that passed their newest screen, the newest first."""
    return fetch_values(connection, "screens.passed", int, lineage=lineage)


def end(
    connection: Connection, screen_id: int, *, result: str, reason: str, figures: Mapping[str, Any]
) -> Screen:
    """End a screen, unless it has ended; returns it as it is."""
    execute(
        connection,
        "screens.end",
        id=screen_id,
        result=result,
        reason=reason,
        figures=Jsonb(dict(figures)),
    )
    found = fetch_one(connection, "screens.get", Screen, id=screen_id)
    assert found is not None  # noqa: S101  # screens are never deleted
    return found


def add_samples(connection: Connection, screen_id: int, samples: Iterable[ScreenSample]) -> None:
    """Write answers, all or none; those that are there already stay as they are."""
    with connection.transaction():
        for one in samples:
            execute(
                connection,
                "screens.add_sample",
                screen_id=screen_id,
                **msgspec.structs.asdict(one) | {"answer": beginning(one.answer)},
            )


def samples(connection: Connection, screen_id: int) -> list[KnownSample]:
    """Read what is known of a screen's answers, by place."""
    return fetch_all(connection, "screens.samples", KnownSample, screen_id=screen_id)


def prune(connection: Connection, kept_hours: float) -> int:
    """Delete the answers of old screens; their results and figures stay."""
    return execute(connection, "screens.prune", kept=kept_hours * 3600, limit=_PRUNED)


def beginning(text: str) -> str:
    """Cut an answer to what is kept of it, without what Postgres cannot store."""
    data = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    return data[:_ANSWER_BYTES].decode("utf-8", "ignore")
