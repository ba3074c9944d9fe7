"""When a checkpoint served, from the decisions about it."""

from __future__ import annotations

from datetime import UTC, datetime

from babylon_tasks.db.checkpoint_history import ServedTime, served
from babylon_tasks.db.promotions import Promotion
from babylon_tasks.decisions import Decision


def at(hour: int) -> datetime:
    return datetime(2026, 1, 31, hour, tzinfo=UTC)


def decided(hour: int, decision: Decision, before: int, to: int) -> Promotion:
    figures = {"windows": ["2026-01-31T08:00"]} if decision is Decision.ROLLBACK else {}
    return Promotion(decision, before, to, "why", figures, "comparison", at(hour))


def test_a_checkpoint_serves_until_another_does_and_again_after_a_rollback() -> None:
    decisions = [
        decided(1, Decision.HOLD, 1, 2),
        decided(2, Decision.PROMOTE, 1, 2),
        decided(3, Decision.PROMOTE, 2, 3),
        decided(4, Decision.ROLLBACK, 3, 2),
        decided(5, Decision.ROLLBACK, 2, 1),
    ]
    assert served(2, at(0), decisions) == [
        ServedTime(at(2), at(3), "comparison", "why"),
        ServedTime(at(4), at(5), "comparison", "why", ["2026-01-31T08:00"]),
    ]


def test_the_base_model_serves_from_the_beginning() -> None:
    assert served(0, at(0), []) == [ServedTime(at(0))]
    assert served(1, at(0), []) == []
