"""Hours are held out out of turn where steps are refused in a row, and no more than that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from babylon_tasks.held_out_hours import RefusedRow, current_row, why_out_of_turn
from babylon_tasks.windows import WINDOW, is_held_out, window_id, window_start

SHARE = 0.1
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def drawn(*flags: bool) -> list[str]:
    """Hours in a row that the draw of lineage babylon holds out as asked."""
    hours = [window_id(NOW + number * WINDOW) for number in range(3000)]
    found = [is_held_out(hour, "babylon", SHARE) for hour in hours]
    first = next(n for n in range(2000) if found[n : n + len(flags)] == list(flags))
    return hours[first : first + len(flags)]


def refused(
    newest: str, *held_out: str, useful: Iterable[str] | None = None, n: int = 2
) -> RefusedRow:
    known = set(held_out) - {newest} if useful is None else set(useful)
    return RefusedRow(n, newest, set(held_out), known)


def why(window: str, row: RefusedRow) -> str | None:
    return why_out_of_turn(window, row, "babylon", SHARE)


@pytest.mark.parametrize(
    ("refusals", "row"),
    [(0, []), (1, []), (2, [0, 1]), (5, [0, 1, 2, 3, 4]), (6, []), (7, [5, 6]), (12, [10, 11])],
)
def test_after_every_five_refusals_a_new_row_begins(refusals: int, row: list[int]) -> None:
    moments = [NOW + timedelta(hours=number) for number in range(refusals)]
    assert current_row(moments) == [moments[number] for number in row]


def test_the_hour_after_the_second_refusal_is_held_out_and_says_why() -> None:
    newest, hour, _ = drawn(False, False, False)
    assert why(hour, refused(newest)) == (
        "out of turn: 2 checkpoints in a row were refused on held-out hours, and of 2 with spread "
        "there are 0 since the first refusal"
    )


@pytest.mark.parametrize("hour", ["0001-01-01T00:00", "9999-12-31T23:00"])
def test_the_calendars_first_and_last_hours_are_decided_as_any(hour: str) -> None:
    row = RefusedRow(2, None, frozenset(), frozenset())
    assert why_out_of_turn(hour, row, "babylon", 0) is not None


def test_hours_that_were_known_at_the_first_refusal_are_not_nor_older_ones() -> None:
    older, newest, _ = drawn(False, False, False)
    row = refused(newest)
    assert why(newest, row) is None
    assert why(older, row) is None


def test_two_hours_since_are_enough_whichever_way_they_were_chosen() -> None:
    newest, one, _, other, _, hour, _ = drawn(*[False] * 7)
    assert why(hour, refused(newest, newest, one, n=3))
    assert why(hour, refused(newest, one, other, n=3)) is None


def test_hours_without_spread_are_not_enough_but_four_hours_are_in_any_case() -> None:
    """Once a policy is sure, all its answers may earn the same: the gate cannot use that hour."""
    newest, *hours = drawn(*[False] * 10)
    assert why(hours[6], refused(newest, *hours[:4:2], useful=[]))
    assert why(hours[6], refused(newest, *hours[:4:2], useful=hours[:1]))
    assert why(hours[8], refused(newest, *hours[:7:2], useful=[])) is None


def test_between_two_hours_there_is_one_to_learn_from() -> None:
    newest, one, beside, hour, _ = drawn(*[False] * 5)
    row = refused(newest, one)
    assert why(beside, row) is None
    assert why(hour, row)
    assert why(one, refused(newest, newest)) is None


def test_an_hour_before_one_that_the_draw_holds_out_is_not() -> None:
    newest, hour, _ = drawn(False, False, True)
    assert why(hour, refused(newest)) is None


def test_a_lineage_that_is_refused_for_ever_goes_on_learning() -> None:
    """With a refusal each hour, at most two of five are held out out of turn."""
    refusals: list[datetime] = []
    opened: dict[str, datetime] = {}
    by_hash: set[str] = set()
    out_of_turn: set[str] = set()
    for number in range(500):
        moment = NOW + number * WINDOW
        hour = window_id(moment)
        if is_held_out(hour, "babylon", SHARE):
            by_hash.add(hour)
        elif begun := current_row(refusals):
            newest = max(one for one, at in opened.items() if at <= begun[0])
            held_out = [one for one in by_hash | out_of_turn if one >= newest]
            if why(hour, refused(newest, *held_out, n=len(begun))):
                out_of_turn.add(hour)
        opened[hour] = moment
        refusals.append(moment)
    assert 100 < len(out_of_turn) <= 200
    assert not any(window_id(window_start(hour) + WINDOW) in out_of_turn for hour in out_of_turn)
