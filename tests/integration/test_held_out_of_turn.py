"""After refusals in a row the next hours are held out, whatever their hash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from evaluated_checkpoints import LINEAGE, evaluated, held_out_windows, trained
from factories import EVER, fill_window
from peer import PeerTrainer
from psycopg.types.json import Jsonb
from scored_windows import scored_window

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, is_held_out, window_id, window_start

SHARE = 0.1
# Hours in a row, none of which the draw holds out.
START = next(
    start
    for start in (window_start("2026-02-01T00:00") + number * WINDOW for number in range(3000))
    if not any(is_held_out(window_id(start + n * WINDOW), LINEAGE, SHARE) for n in range(12))
)
HOURS = [window_id(START + number * WINDOW) for number in range(12)]
NO_BETTER: dict[str, Any] = {"refused": "no_better", "set_hash": "h"}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        held_out_share=SHARE, lookback_hours=int(EVER), min_eval_groups=3, promote_tolerance=0.01
    )


def opened(connection: Connection, settings: Settings, *hours: str) -> list[str]:
    """Open hours as discovery does; returns those that are held out."""
    for hour in hours:
        fill_window(connection, hour)
    assert set(hours) <= set(discover(settings, actor="test").opened)
    query = "SELECT window_id FROM training.windows WHERE held_out ORDER BY window_id"
    held_out = {row[0] for row in connection.execute(query)}
    return [hour for hour in hours if hour in held_out]


def decided(
    connection: Connection,
    step: int,
    decision: str = "hold",
    figures: dict[str, Any] = NO_BETTER,
    *,
    lineage: str = LINEAGE,
) -> None:
    connection.execute(
        "INSERT INTO training.promotions (lineage, decision, from_step, to_step, reason, evidence,"
        " actor) VALUES (%s, %s, 0, %s, 'r', %s, 'test')",
        (lineage, decision, step, Jsonb(figures)),
    )


@pytest.fixture
def begun(connection: Connection, settings: Settings) -> Connection:
    """A lineage, and an hour that was open before anything was refused."""
    lineages.ensure(connection, settings)
    assert opened(connection, settings, HOURS[0]) == []
    return connection


def why(connection: Connection, hour: str) -> dict[str, Any]:
    query = "SELECT detail FROM training.events WHERE window_id = %s AND kind = 'opened'"
    row = connection.execute(query, (hour,)).fetchone()
    assert row is not None
    return dict(row[0])


def test_after_a_second_refusal_two_new_hours_are_held_out_and_others_between_them_are_not(
    connection: Connection, settings: Settings
) -> None:
    held_out_windows(connection)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.3, 2: 0.3})
    assert opened(connection, settings, HOURS[0]) == []
    trained(connection, settings, trainer, 1)
    assert evaluated(settings, trainer).action == "held"
    assert opened(connection, settings, HOURS[1]) == [], "one refusal may be chance"
    trained(connection, settings, trainer, 2)
    assert evaluated(settings, trainer).action == "held"

    assert opened(connection, settings, HOURS[2]) == [HOURS[2]]
    assert opened(connection, settings, *HOURS[3:8]) == [HOURS[4]]

    assert why(connection, HOURS[1]) == {"held_out": False}
    assert why(connection, HOURS[2]) == {
        "held_out": True,
        "why": "out of turn: 2 checkpoints in a row were refused on held-out hours, and of 2 with "
        "spread there are 0 since the first refusal",
    }


def test_an_hour_without_spread_is_followed_by_another(
    begun: Connection, settings: Settings
) -> None:
    decided(begun, 1)
    decided(begun, 2)
    assert opened(begun, settings, *HOURS[1:4]) == [HOURS[1], HOURS[3]]
    scored_window(begun, HOURS[1], rewards=(0.5, 0.5), state="held_out")
    scored_window(begun, HOURS[3], state="held_out")
    begun.execute("UPDATE training.windows SET scored_at = now() WHERE held_out")

    assert opened(begun, settings, *HOURS[4:8]) == [HOURS[5]]


def test_while_rewards_of_held_out_hours_are_awaited_further_refusals_ask_for_no_more(
    begun: Connection, settings: Settings
) -> None:
    """Where outcomes come a day later, each step till then is refused on hours of the past."""
    decided(begun, 1)
    decided(begun, 2)
    assert opened(begun, settings, *HOURS[1:4]) == [HOURS[1], HOURS[3]]
    for step in range(3, 8):
        decided(begun, step)
    assert opened(begun, settings, HOURS[5]) == []
    known = "UPDATE training.windows SET scored_at = now(), waits_until = %s WHERE window_id = %s"
    begun.execute(known, (None, HOURS[1]))
    begun.execute(known, ("infinity", HOURS[3]))

    assert opened(begun, settings, *HOURS[6:11]) == [HOURS[6]], "one is known, of one is awaited"


def test_hours_before_the_first_refusal_are_not_held_out_whenever_they_are_opened(
    begun: Connection, settings: Settings
) -> None:
    decided(begun, 1)
    decided(begun, 2)
    long_ago = [window_id(START - timedelta(days=9) + n * WINDOW) for n in range(24)]
    drawn = [hour for hour in long_ago if is_held_out(hour, LINEAGE, SHARE)]

    assert opened(begun, settings, *long_ago) == drawn
    assert all(why(begun, hour)["why"] == "drawn by hash, a share of 0.1" for hour in drawn)
    assert opened(begun, settings, HOURS[1]) == [HOURS[1]]


@pytest.mark.parametrize(
    ("figures", "others"),
    [
        ({"refused": False, "set_hash": "h"}, [1, 2]),  # too few groups
        ({"refused": "harm", "screen": 7}, [1, 2]),  # it was not evaluated
        ({"refused": "no_better", "set_hash": "g"}, [1, 1]),  # the same one again
    ],
)
def test_other_holds_make_no_row(
    begun: Connection, settings: Settings, figures: dict[str, Any], others: list[int]
) -> None:
    for step in others:
        decided(begun, step, figures=figures)
    assert opened(begun, settings, HOURS[1]) == []


def test_only_refusals_of_the_lineage_since_the_pointer_moved_last_count(
    begun: Connection, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    lineages.ensure(begun, make_settings(lineage="other"))
    decided(begun, 1)
    decided(begun, 2, "promote", {})
    decided(begun, 3, figures={"refused": "harm", "set_hash": "h"})  # near-constant answers
    for step in (1, 2, 3):
        decided(begun, step, lineage="other")
    assert opened(begun, settings, HOURS[1]) == []

    decided(begun, 4)
    assert opened(begun, settings, HOURS[2]) == [HOURS[2]]


def test_where_no_hours_are_to_be_held_out_none_is(
    begun: Connection, make_settings: Callable[..., Settings]
) -> None:
    decided(begun, 1)
    decided(begun, 2)
    none = make_settings(held_out_share=0, lookback_hours=int(EVER))
    assert opened(begun, none, HOURS[1]) == []


def test_the_report_on_data_says_what_may_be_held_out(
    begun: Connection, settings: Settings
) -> None:
    fill_window(begun, HOURS[1])
    fill_window(begun, HOURS[2])
    unwarned = verify_data(settings).warnings
    decided(begun, 1)
    decided(begun, 2)

    report = verify_data(settings)

    assert [text for text in report.warnings if text not in unwarned] == [
        f"of 2 hours from {HOURS[1]} on, which are counted as trainable, 2 may be held out when "
        "they are opened: 2 checkpoints in a row were refused",
    ]
    assert [one.trainable for one in report.windows] == [4, 4, 4]
