"""How markets ended is copied into a table of ours, as Babylon's last word says."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from factories import EVER, WINDOW, insert, insert_outcomes, market_outcome, stock_outcome
from scored_windows import column, hour

from babylon_tasks.db import outcomes, reward_versions
from babylon_tasks.db.outcomes import OutcomeBook, follow
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.sql import fetch_value, queries
from babylon_tasks.records import AgentAction, Outcome, Outcomes, Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start
from bench.statement_costs import nodes

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(lookback_hours=int(EVER))


def kept(connection: Connection) -> dict[tuple[str, str], bool | float | None]:
    """Name and hour to what our table says."""
    rows = connection.execute("SELECT name, window_id, yes, change FROM training.outcomes")
    return {(name, at): change if yes is None else yes for name, at, yes, change in rows.fetchall()}


def asked(connection: Connection, *names: str, window: str = WINDOW) -> Outcomes:
    """What a window learns of some markets."""
    decisions = tuple(AgentAction("TRADE", True, name, None, "buy_yes") for name in names)
    trajectory = Trajectory("t", "a", None, None, None, None, decisions, ())
    return OutcomeBook(connection, window).covering([trajectory])


@pytest.mark.parametrize(
    ("word", "yes"),
    [
        ("YES", True),
        ("yes", True),
        (" Yes\n", True),
        ("true", True),
        ("NO", False),
        ("no ", False),
        ("FALSE", False),
        ("UNRESOLVED", None),
        ("N/A", None),
        ("cancelled", None),
        ("1", None),
        ("yesterday", None),
    ],
)
def test_an_outcome_is_one_of_few_words_however_it_is_written(
    settings: Settings, connection: Connection, word: str, yes: bool | None
) -> None:
    insert_outcomes(connection, [market_outcome("m-1", word)])
    follow(connection, settings)
    assert kept(connection) == {("m-1", WINDOW): yes}
    assert asked(connection, "m-1").markets == ({} if yes is None else {"m-1": Outcome(yes=yes)})
    unknown = outcomes.not_understood(connection, None, 10)
    assert unknown == ({} if yes is not None else {word: 1})


@pytest.mark.parametrize("word", [None, "", "  "])
def test_a_row_that_says_nothing_is_none(
    settings: Settings, connection: Connection, word: str | None
) -> None:
    silent = [market_outcome("m-1", outcome=word), market_outcome("", "YES")]  # type: ignore[arg-type]
    insert_outcomes(connection, silent)
    assert follow(connection, settings) == 0
    assert outcomes.not_understood(connection, None, 10) == {}


@pytest.mark.parametrize(
    ("columns", "change"),
    [
        ({"changePercent": -2.5}, -2.5),
        ({"changePercent": None, "startPrice": 100, "endPrice": 104}, 4.0),
        ({"changePercent": "NaN", "startPrice": 100, "endPrice": 104}, 4.0),
        ({"changePercent": "NaN", "startPrice": 0, "endPrice": 104}, None),
        ({"changePercent": None, "startPrice": "NaN", "endPrice": 104}, None),
        ({"changePercent": None, "startPrice": None, "endPrice": 104}, None),
        ({"changePercent": 0}, 0.0),
    ],
)
def test_how_a_price_moved_is_a_number_or_not_known(
    settings: Settings, connection: Connection, columns: dict[str, Any], change: float | None
) -> None:
    insert_outcomes(connection, [stock_outcome("ACME", **columns)])
    follow(connection, settings)
    assert kept(connection) == ({} if change is None else {("ACME", WINDOW): change})


def test_an_hours_newest_row_that_says_something_counts(
    settings: Settings, connection: Connection
) -> None:
    early, late, last = ({"createdAt": f"2026-01-31 10:0{minute}:00"} for minute in range(3))
    insert_outcomes(
        connection,
        [
            market_outcome("m-1", "NO", **late),
            market_outcome("m-1", "YES", **early),
            market_outcome("m-1", outcome=None, **last),  # type: ignore[arg-type]
            market_outcome("m-2", "YES", **early),
            market_outcome("m-2", "CANCELLED", **late),
            stock_outcome("ACME", 1.0, **early),
            stock_outcome("ACME", 2.0, **late),
            stock_outcome("ACME", **last, changePercent="NaN", startPrice=None),
        ],
    )
    assert follow(connection, settings) == 3
    assert kept(connection) == {
        ("m-1", WINDOW): False,
        ("m-2", WINDOW): None,
        ("ACME", WINDOW): 2.0,
    }


def test_the_latest_word_on_a_market_counts_and_the_first_move_of_a_stock(
    settings: Settings, connection: Connection
) -> None:
    for number, (word, change) in enumerate([("NO", 1.0), ("YES", -2.0), ("NO", 3.0)], start=8):
        insert_outcomes(
            connection,
            [market_outcome("m", word, hour(number)), stock_outcome("ACME", change, hour(number))],
        )
    insert_outcomes(connection, [market_outcome("v", "YES", hour(9))])
    insert_outcomes(connection, [market_outcome("v", "VOID", hour(10))])
    follow(connection, settings)
    found = asked(connection, "m", "v", "ACME", window=hour(9))
    assert found.markets == {"m": Outcome(yes=False)}
    assert found.tickers == {"ACME": Outcome(change=-2.0)}
    assert asked(connection, "m", "ACME", window=hour(11)) == Outcomes({}, {})


def test_a_market_and_a_stock_of_one_name_are_two(
    settings: Settings, connection: Connection
) -> None:
    both = [market_outcome("X", "YES", hour(9)), stock_outcome("X", 2.0, hour(9))]
    insert_outcomes(connection, [*both, market_outcome("X", "NO", hour(10))])
    assert follow(connection, settings) == 3

    connection.execute('DELETE FROM market_outcomes WHERE "predictionMarketId" IS NOT NULL')
    assert follow(connection, settings) == 2

    kinds = "SELECT kind, change FROM training.outcomes"
    assert connection.execute(kinds).fetchall() == [("stock", 2.0)]


def test_before_anything_is_copied_babylons_own_table_answers_alike(
    settings: Settings, connection: Connection
) -> None:
    insert_outcomes(
        connection,
        [
            market_outcome("m-1", " no ", hour(10)),
            market_outcome("m-2", "YES", hour(9)),
            market_outcome("m-2", "void", hour(10)),
            stock_outcome("ACME", 4.0, hour(8)),
            stock_outcome("ACME", window=hour(9), changePercent="NaN", startPrice=0),
            stock_outcome("ACME", -4.0, hour(10)),
        ],
    )
    before = asked(connection, "m-1", "m-2", "ACME")
    follow(connection, settings)
    assert asked(connection, "m-1", "m-2", "ACME") == before
    assert before.markets == {"m-1": Outcome(yes=False)}
    assert before.tickers == {"ACME": Outcome(change=-4.0)}


def test_looking_again_writes_nothing_and_a_change_only_itself(
    settings: Settings, connection: Connection
) -> None:
    insert_outcomes(connection, [market_outcome(f"m-{n}", "YES") for n in range(5)])
    insert_outcomes(connection, [stock_outcome("ACME", 2.0)])
    assert follow(connection, settings) == 6
    first = connection.execute("SELECT name, changed_at, xmin::text FROM training.outcomes")
    written = set(first.fetchall())

    assert follow(connection, settings) == 0
    again = connection.execute("SELECT name, changed_at, xmin::text FROM training.outcomes")
    assert set(again.fetchall()) == written

    connection.execute(
        """UPDATE market_outcomes SET outcome = 'NO' WHERE "predictionMarketId" = 'm-3'"""
    )
    assert follow(connection, settings) == 1
    last = connection.execute("SELECT name, changed_at, xmin::text FROM training.outcomes")
    assert {name for name, *_ in set(last.fetchall()) - written} == {"m-3"}
    assert kept(connection)["m-3", WINDOW] is False


@pytest.mark.parametrize(
    "take_back",
    ["DELETE FROM market_outcomes", "UPDATE market_outcomes SET outcome = NULL"],
)
def test_what_babylon_takes_back_is_known_no_more(
    settings: Settings, connection: Connection, take_back: str
) -> None:
    insert_outcomes(connection, [market_outcome("m-1")])
    follow(connection, settings)
    connection.execute(take_back)  # type: ignore[arg-type]
    assert follow(connection, settings) == 1
    assert kept(connection) == {}


# --- how far it looks back


def test_the_first_time_everything_is_copied_then_the_look_back_or_what_is_asked_for(
    make_settings: MakeSettings, connection: Connection
) -> None:
    settings = make_settings(lookback_hours=2, outcome_wait_hours=0)
    insert_outcomes(connection, [market_outcome("m", "YES", hour(n)) for n in (1, 8, 9)])
    assert follow(connection, settings, since=window_start(hour(9))) == 3

    connection.execute("UPDATE market_outcomes SET outcome = 'NO'")
    assert follow(connection, settings) == 2, "eight and nine are within two hours of the newest"
    assert follow(connection, settings, since=window_start(hour(1))) == 1


def test_copying_outcomes_resumes_where_it_stopped(
    make_settings: MakeSettings, connection: Connection
) -> None:
    """The hours lie long past: counted from now, none would be in sight."""
    settings = make_settings(lookback_hours=1, outcome_wait_hours=0)
    insert_outcomes(connection, [market_outcome("m", "YES", hour(1))])
    follow(connection, settings)
    insert_outcomes(connection, [market_outcome("m", "NO", hour(n)) for n in (2, 20)])
    insert_outcomes(connection, [market_outcome("m", "NO", "2999-01-01T00:00")])
    assert follow(connection, settings) == 3
    insert_outcomes(connection, [market_outcome("n", "NO", hour(20))])
    assert follow(connection, settings) == 1, "an hour to come is no place to go on from"


@pytest.mark.contract(None)
def test_the_newest_outcome_is_that_of_the_last_day_and_its_last_hour_that_has_begun(
    moment: Connection,
) -> None:
    now = "2026-02-01T03:00"
    assert fetch_value(moment, "outcomes.newest", str, now=now) is None
    hours = ("2026-01-31T23:00", "2026-02-01T00:00", "2026-02-01T01:00", "2026-02-01T05:00")
    rows = [{"kind": "market", "name": "m", "window_id": one, "yes": True} for one in hours]
    insert(moment, "training.outcomes", rows)

    assert fetch_value(moment, "outcomes.newest", str, now=now) == "2026-02-01T01:00"


def test_as_far_back_as_windows_wait(make_settings: MakeSettings, connection: Connection) -> None:
    settings = make_settings(lookback_hours=1, outcome_wait_hours=5)
    insert_outcomes(connection, [market_outcome("m", "YES", hour(n)) for n in (3, 4, 10)])
    follow(connection, settings)
    connection.execute("DELETE FROM market_outcomes")
    follow(connection, settings)
    assert set(kept(connection)) == {("m", hour(3))}


@pytest.mark.parametrize("slip", ["2026-02-31T01:00", "0001-01-01T00:00", "0500-01-01T00:00"])
def test_an_hour_that_is_none_stops_nothing(
    slip: str, settings: Settings, connection: Connection
) -> None:
    insert_outcomes(connection, [market_outcome("m", "YES", slip)])
    follow(connection, settings)
    insert_outcomes(connection, [market_outcome("n", "YES", WINDOW)])
    assert follow(connection, settings) == 1


def test_a_name_that_fits_no_index_stops_nothing(
    settings: Settings, connection: Connection
) -> None:
    """Random letters, since Postgres compresses others."""
    name = secrets.token_hex(2_000)
    insert_outcomes(connection, [market_outcome(name), market_outcome("m-1")])
    assert follow(connection, settings) == 1
    assert kept(connection) == {("m-1", WINDOW): True}


def test_many_rows_are_copied_in_slices(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "_SLICE", 3)
    slices: list[int] = []
    monkeypatch.setattr(reward_versions, "mark", lambda _, changed: slices.append(len(changed)))
    rows = [market_outcome(f"m-{m}", "YES", hour(n)) for n in range(5) for m in range(n + 1)]
    insert_outcomes(connection, rows)
    assert follow(connection, settings) == len(rows)
    assert len(kept(connection)) == len(rows)
    assert slices == [3 + 3, 4, 5], "an hour is never cut"
    connection.execute("DELETE FROM market_outcomes")
    assert follow(connection, settings) == len(rows)


def test_without_babylons_table_nothing_is_known_and_nothing_forgotten(
    settings: Settings, connection: Connection
) -> None:
    insert_outcomes(connection, [market_outcome("m-1")])
    follow(connection, settings)
    connection.execute("DROP TABLE market_outcomes")
    assert follow(connection, settings) == 0
    assert asked(connection, "m-1").markets == {"m-1": Outcome(yes=True)}
    assert outcomes.not_understood(connection, None, 10) == {}
    connection.execute("TRUNCATE training.outcomes")
    assert asked(connection, "m-1") == Outcomes({}, {})


def test_many_at_once_copy_each_row_once(settings: Settings, connection: Connection) -> None:
    insert_outcomes(connection, [market_outcome(f"m-{n}", "YES", hour(n % 20)) for n in range(200)])
    together = threading.Barrier(5)

    def copy(_: int) -> int:
        with connect(settings) as own:
            together.wait()
            return follow(own, settings)

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(copy, range(5))) == [0, 0, 0, 0, 200]
    assert len(kept(connection)) == 200


@pytest.mark.parametrize(
    ("statement", "names"), [("of_markets", "markets"), ("of_stocks", "tickers")]
)
def test_a_look_up_costs_the_same_whatever_the_windows_age(
    settings: Settings, connection: Connection, statement: str, names: str
) -> None:
    connection.execute(
        """
        INSERT INTO training.outcomes (kind, name, window_id, yes, change)
        SELECT kind, 'n-' || n, to_char(timestamp '2025-01-01' + make_interval(hours => hour),
                                        'YYYY-MM-DD"T"HH24:00'),
               CASE kind WHEN 'market' THEN true END, CASE kind WHEN 'stock' THEN 1 END
        FROM unnest(ARRAY['market', 'stock']) AS kind, generate_series(1, 20) AS n,
             generate_series(0, 999) AS hour
        """
    )
    connection.execute("ANALYZE training.outcomes")

    def plan(window: str) -> str:
        explained = connection.execute(
            "EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY off, FORMAT json) "
            + queries("outcomes")[statement],  # type: ignore[operator]
            {"window": window, names: [f"n-{n}" for n in range(1, 11)]},
        ).fetchone()
        assert explained is not None
        return explained[0][0]["Plan"]  # type: ignore[no-any-return]

    old: Any = plan("2025-01-01T00:00")
    new: Any = plan("2025-02-11T00:00")
    assert "Seq Scan" not in str(old)
    assert "outcomes_pkey" in str(old)
    read = [found["Shared Hit Blocks"] + found["Shared Read Blocks"] for found in (old, new)]
    assert max(read) <= 10 * 5, "some blocks a name: the index down to one row, and that row"
    assert column(connection, "SELECT count(*) FROM training.outcomes") == [40_000]


@pytest.mark.contract("today")
def test_a_copy_of_what_has_not_changed_looks_none_of_it_up(
    connection: Connection, settings: Settings
) -> None:
    """Each row that was kept, looked up by its key once more, was most of what a copy read."""
    insert_outcomes(connection, [market_outcome(f"m-{n}", "YES", WINDOW) for n in range(50)])
    assert follow(connection, settings) == 50
    # As Postgres joins where the table is large and few rows are asked for.
    connection.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
    row = connection.execute(
        "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, FORMAT json) "
        + queries("outcomes")["copy"],  # type: ignore[operator]
        {"since": "", "until": "9999", "longest": 200, "yes": ["yes"], "no": ["no"]},
    ).fetchone()
    assert row is not None
    (deletes,) = [node for node in nodes(row[0][0]["Plan"]) if node.get("Operation") == "Delete"]
    assert [
        node["Actual Rows"] * node["Actual Loops"]
        for node in nodes(deletes)
        if node.get("Relation Name") == "outcomes" and node is not deletes
    ] == [0]
