"""An engineer on call reads a window's events in a narrow terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babylon_tasks.cli.event_lines import event_lines, event_paragraphs
from babylon_tasks.db.reports import Event

START = datetime(2026, 1, 31, 10, 2, 3, tzinfo=UTC)
HASH = "3bd503fcc8ad9984f966daf1b81d450136e8a2f8944e0dfe87cfb29dcb6b52a2"
WORKER = "gpu-worker@babylon-tasks-gpu-worker-7f9c6d5b8-x2x4q"


def event(number: int, kind: str, step: int | None = None, **detail: object) -> Event:
    at = START + timedelta(minutes=number)
    return Event(at, kind, WORKER, None if step is None else "babylon", step, detail)


EVENTS = [
    event(0, "opened", held_out=False),
    event(1, "sealed", agents=4, overdue=False, trajectories=4),
    event(2, "scored", state="scored", scored=4, rejected={"late": 1}, reward_mean=0.4921),
    event(3, "step_planned", 1, windows=["2026-01-31T09:00"], manifest=HASH, fencing_token=1),
    event(4, "step_running", 1, attempts=1, fencing_token=1),
    event(5, "step_committed", 1, attempts=2, adapter_hash=HASH),
    event(6, "failed", **{"from": "training", "to": "failed", "reason": "training failed 3 times"}),
]


def test_each_event_is_one_line_that_fits_sixty_columns() -> None:
    lines = list(event_lines(EVENTS, 60))
    assert len(lines) == len(EVENTS)
    assert max(map(len, lines)) <= 60
    assert lines[0] == "01-31 10:02  opened"
    assert lines[1] == "01-31 10:03  sealed  agents 4, trajectories 4"
    assert lines[2] == "01-31 10:04  scored  scored 4, reward_mean 0.492"
    assert lines[3].endswith("manifest 3bd503fc")
    assert lines[4].endswith("step_running 1")
    assert lines[5].endswith("attempts 2, adapter_hash 3b..")
    assert "training failed 3 times" in lines[6]


def test_a_wide_terminal_has_seconds_and_columns() -> None:
    lines = list(event_lines(EVENTS, 80))
    assert lines[1] == "01-31 10:03:03  sealed            agents 4, trajectories 4"


def test_what_a_step_did_is_said_once() -> None:
    trained = {"adapter_hash": HASH, "gradient_steps": 1, "trainable_tokens": 48}
    events = [
        event(0, "step_planned", 7, trajectories=48),
        event(1, "step_trained", 7, **trained),
        event(2, "step_committed", 7, trajectories=48, **trained),
        event(3, "step_trained", 8, **trained),
    ]
    assert [line.split("  ", 1)[1] for line in event_lines(events, 70)] == [
        "step_planned 7  trajectories 48",
        "step_trained 7  adapter_hash 3bd503fc, gradient_steps 1..",
        "step_committed 7",
        "step_trained 8  adapter_hash 3bd503fc, gradient_steps 1..",
    ]


def test_what_happened_comes_before_what_to_do_about_it() -> None:
    advice = event(
        0, "advice", todo="let agents ask at temperature 1", nothing_to_learn="80 of 128"
    )
    assert list(event_lines([advice], 60)) == [
        "01-31 10:02  advice  nothing_to_learn 80 of 128, todo let.."
    ]


def test_who_did_it_is_named_where_it_was_a_person() -> None:
    detail = {"reason": "better", "to_step": 0}
    by_hand = Event(START, "rollback", "cli:ann@desk", "babylon", None, detail)
    assert list(event_lines([by_hand], 80)) == [
        "01-31 10:02:03  rollback  better, to_step 0, by cli:ann@desk"
    ]


def test_details_have_everything() -> None:
    text = "\n".join(event_paragraphs(EVENTS))
    assert text.count(WORKER) == len(EVENTS)
    assert text.count(HASH) == 2
    assert "fencing_token 1" in text
    assert "2026-01-31 10:02:03" in text


def test_nothing_is_said_of_no_events() -> None:
    assert list(event_lines([], 60)) == []
