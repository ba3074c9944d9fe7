"""A running comparison takes each finished hour once, in order, and keeps what it showed."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import psycopg
import pytest
from compared_hours import (
    PARAMETERS,
    arms_of,
    assert_replayed,
    begun,
    compared_hour,
    lineage,
    observed,
)
from msgspec.structs import replace
from scored_windows import column, hour

from babylon_tasks.comparison.blocks import block_for
from babylon_tasks.comparison.on_record import parameters_of
from babylon_tasks.comparison.parameters import Ramp
from babylon_tasks.db import comparisons
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.sql import statement
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.pipeline import compare, start_comparison
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

pytestmark = pytest.mark.contract("today")
LATER = "UPDATE training.windows SET state = 'scored', scored_at = now() WHERE window_id = %s"


def taken(connection: Connection, settings: Settings) -> list[tuple[str, str]]:
    return [(one.window, one.conclusion) for one in compare.compare(connection, settings)]


def test_harm_is_concluded_once_and_the_record_repeats_it(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    comparison = begun(connection)
    for number in range(6):
        compared_hour(connection, number, serving=0.5 if number < 2 else 0.1)

    conclusions = [conclusion for _, conclusion in taken(connection, settings)]

    assert conclusions.count("rollback") == 1
    assert conclusions[:2] == ["keep", "keep"]
    rows = comparisons.windows(connection, comparison.id)
    assert [row.window for row in rows] == [hour(number) for number in range(6)]
    assert_replayed(connection, comparison)
    # The hours after it were drawn before it was concluded: they show the same harm again.
    assert "its arms were drawn before" in (rows[-1].evidence or "")
    assert taken(connection, settings) == []


def test_an_hour_is_observed_by_arm_as_drawn(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    comparison = begun(connection, examinee=1)
    compared_hour(connection, 0, serving=0.4, control=0.5, examinee=0.8)

    assert taken(connection, settings) == [(hour(0), "keep")]

    (row,) = comparisons.windows(connection, comparison.id)
    window = observed(row)
    (stratum,) = window.reward
    assert stratum.examinee is not None
    arms = (stratum.serving, stratum.control, stratum.examinee)
    assert sum(arm.n for arm in arms) == 100
    assert [round(arm.mean, 1) for arm in arms] == [0.4, 0.5, 0.8]
    assert [one.control.mean for one in window.guard] == [1.0]
    assert (window.examinee, window.complied, window.decided) == ("babylon@1", 1.0, "")
    assert_replayed(connection, comparison)


def test_what_agents_earned_the_day_before_goes_with_an_hour(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    begun(connection, first=23)
    for number in (0, 21, 22, 23):
        compared_hour(connection, number, serving=0.2 + number / 100)
    for table in ("windows", "scores"):  # too long ago
        connection.execute(
            f"UPDATE training.{table} SET window_id = '2026-01-30T22:00' WHERE window_id = %s",  # type: ignore[arg-type]  # noqa: S608
            (hour(0),),
        )
    again = (
        "INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id,"
        " group_key, scorer, scorer_version, reward, components, content_hash)"
        " SELECT trajectory_id, 2, window_id, agent_id, '', '', '', 1, '{}', '' FROM"
        " training.scores WHERE window_id = %s AND agent_id = 'agent-7'"
    )
    connection.execute(again, (hour(22),))  # a version that does not count

    found = comparisons.agents(connection, "babylon", hour(23), 1, arms_of())

    rewards = (
        "SELECT agent_id, avg(reward)::float8 FROM training.scores"
        " WHERE window_id = ANY (%s) AND reward_version = 1 GROUP BY agent_id"
    )
    before = dict(connection.execute(rewards, ([hour(21), hour(22)],)).fetchall())
    assert len(found) == 100
    assert {one.agent: one.past for one in found} == pytest.approx(before)


def test_agents_that_do_not_ask_the_gateway_are_no_evidence(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    comparison = begun(connection)
    compared_hour(connection, 0, through_gateway=0.5)

    assert taken(connection, settings) == [(hour(0), "pause_comparison")]

    (row,) = comparisons.windows(connection, comparison.id)
    assert observed(row).complied == 0.5
    assert "see whether they reach the gateway" in (row.evidence or "")


def test_who_asks_another_lineage_is_in_none_of_the_arms(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    comparison = begun(connection)
    compared_hour(connection, 0)
    connection.execute("UPDATE training.calls SET lineage = 'other' WHERE agent > 'agent-4'")

    assert comparisons.asking(connection, "babylon").rewarded == 35
    assert taken(connection, settings) == [(hour(0), "keep")]

    (row,) = comparisons.windows(connection, comparison.id)
    window = observed(row)
    assert window.complied == 1.0
    assert window.drawn is not None
    assert window.drawn.serving + window.drawn.control == 35


def test_a_checkpoint_that_leaves_its_agents_without_answers_is_rolled_back(
    connection: Connection, settings: Settings
) -> None:
    """Its endpoint fails, and there is no fallback: nothing of it is captured."""
    lineage(connection)
    begun(connection)
    compared_hour(connection, 0)
    connection.execute("DELETE FROM training.calls WHERE arm = 'serving'")

    assert taken(connection, settings) == [(hour(0), "rollback")]

    why = column(connection, "SELECT reason FROM training.promotions")
    assert "what serves answered 0 agents" in str(why[0])


def test_callers_at_once_take_each_hour_once(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    comparison = begun(connection)
    for number in range(8):
        compared_hour(connection, number)
    found: list[str] = []
    together = threading.Barrier(2)

    def call() -> None:
        with session(settings) as own:
            together.wait()
            found.extend(one.window for one in compare.compare(own, settings))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert sorted(found) == [hour(number) for number in range(8)]
    assert_replayed(connection, comparison)


def test_an_hour_without_rewards_keeps_later_ones_waiting_for_a_while(
    connection: Connection,
    settings: Settings,
) -> None:
    lineage(connection)
    comparison = begun(connection)
    for number in range(3):
        compared_hour(connection, number)
    connection.execute(
        "UPDATE training.windows SET state = 'sealed', scored_at = NULL, starts_at = now()"
        " WHERE window_id = %s",
        (hour(1),),
    )

    assert taken(connection, settings) == [(hour(0), "keep")]

    connection.execute(
        "UPDATE training.windows SET starts_at = now() - interval '8 hours' WHERE window_id = %s",
        (hour(1),),
    )
    assert taken(connection, settings) == [(hour(2), "keep")]

    connection.execute(LATER, (hour(1),))
    assert taken(connection, settings) == [(hour(1), "late")]
    assert taken(connection, settings) == []
    assert comparisons.counts(connection, comparison.id) == {"keep": 2, "late": 1}


def test_a_fall_to_the_floor_counts_at_once_and_a_rise_from_the_next_hour_on(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    ramp = Ramp(shares=(0.2, 0.3, 0.5, 0.8), evidence=(3.0, 1.5, 1.5), min_windows=1)
    begun(connection, anchor="groq/qwen", parameters=replace(PARAMETERS, guard=None, ramp=ramp))
    after: dict[str, timedelta] = {}
    for number in range(24):
        compared_hour(connection, number, serving=0.1 if "rise" in after else 0.8)
        ((_, conclusion),) = taken(connection, settings)
        (first,) = column(
            connection, "SELECT from_window FROM training.arms ORDER BY id DESC LIMIT 1"
        )
        moment = "SELECT compared_at FROM training.comparison_windows WHERE window_id = %s"
        (compared_at,) = column(connection, moment, hour(number))
        assert isinstance(compared_at, datetime)
        after[conclusion] = window_start(str(first)) - compared_at
        if conclusion == "to_floor":
            break

    assert after["rise"] > timedelta(0)
    assert after["to_floor"] <= timedelta(0)
    shares = "SELECT control_share FROM training.arms ORDER BY id"
    assert column(connection, shares) == [0.8, 0.7, 0.8]


@pytest.mark.parametrize("table", ["comparisons", "comparison_windows", "ended_comparisons"])
@pytest.mark.parametrize("change", ["UPDATE training.{} SET {} = {}", "DELETE FROM training.{}"])
def test_rows_are_only_added(
    connection: Connection, settings: Settings, table: str, change: str
) -> None:
    lineage(connection)
    comparison = begun(connection)
    compared_hour(connection, 0)
    taken(connection, settings)
    comparisons.end(connection, comparison.id, reason="enough", actor="test")
    name = "lineage" if table == "comparisons" else "comparison_id"

    with pytest.raises(psycopg.errors.RaiseException, match="only added"):
        connection.execute(change.format(table, name, name))  # type: ignore[arg-type]


def test_a_failure_between_observing_and_recording_leaves_nothing(
    connection: Connection,
    settings: Settings,
) -> None:
    lineage(connection)
    comparison = begun(connection)
    compared_hour(connection, 0)
    connection.execute(
        "ALTER TABLE training.comparison_windows ADD CONSTRAINT broken CHECK (conclusion <> 'keep')"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        taken(connection, settings)
    assert comparisons.windows(connection, comparison.id) == []

    connection.execute("ALTER TABLE training.comparison_windows DROP CONSTRAINT broken")
    assert taken(connection, settings) == [(hour(0), "keep")]


def test_hours_that_are_alike_are_found_in_the_trials_on_record(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    comparison = begun(connection)
    connection.execute(
        "INSERT INTO training.comparison_windows (comparison_id, window_id, reward_version,"
        " conclusion, observation, state, evidence)"
        " SELECT %s, 'w-' || lpad(n::text, 3, '0'), 1, 'keep',"
        " json_build_object('examinee', 'babylon@' || n / 60), '{}',"
        " json_build_object('reward', json_build_object('measured',"
        " json_build_object('examinee', CASE WHEN n %% 60 > 50 THEN NULL"
        " WHEN n / 6 %% 2 = 0 THEN 0.03 ELSE -0.03 END)))"
        " FROM generate_series(0, 119) AS n",
        (comparison.id,),
    )

    found = comparisons.trials(connection, "babylon")

    assert [len(one) for one in found] == [51, 51]
    assert found[0][:7] == [0.03] * 6 + [-0.03]
    assert block_for(found, 0.02) == 12
    assert comparisons.trials(connection, "other") == []
    comparisons.end(connection, comparison.id, reason="enough", actor="test")
    compared_hour(connection, 0)
    another = start_comparison.start(
        connection, settings, anchor_step=0, anchor_model=None, examinee_step=None, actor="x"
    )
    assert parameters_of(another.id, another.parameters).block == 12


def test_start_draws_arms_from_the_next_hour_on_and_stop_ends_them(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)

    begun_now = start_comparison.start(
        connection, settings, anchor_step=0, anchor_model=None, examinee_step=1, actor="cli:mo"
    )

    with pytest.raises(IllegalTransition, match="compare stop"):
        start_comparison.start(
            connection, settings, anchor_step=0, anchor_model=None, examinee_step=None, actor="x"
        )
    query = "SELECT control_share + examinee_share FROM training.arms ORDER BY id"
    assert column(connection, query) == [0.2]
    first = column(connection, "SELECT from_window FROM training.arms")
    assert first == [begun_now.began_window]
    stopped = start_comparison.stop(connection, "babylon", reason="enough", actor="cli:mo")
    assert stopped is not None
    assert (stopped.id, stopped.ended_why, stopped.ended_by) == (begun_now.id, "enough", "cli:mo")
    assert column(connection, query) == [0.2, 0.0]
    assert start_comparison.stop(connection, "babylon", reason="again", actor="x") is None


def test_too_few_agents_are_refused_by_name(connection: Connection, settings: Settings) -> None:
    lineage(connection)

    with pytest.raises(IllegalTransition, match="0 agents"):
        start_comparison.start(
            connection, settings, anchor_step=0, anchor_model=None, examinee_step=None, actor="x"
        )

    assert column(connection, "SELECT count(*) FROM training.arms") == [0]


def test_arms_are_sized_by_the_agents_of_their_own_lineage(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)

    def start(last: str) -> float:
        connection.execute("UPDATE training.calls SET lineage = 'other' WHERE agent > %s", (last,))
        found = start_comparison.start(
            connection, settings, anchor_step=0, anchor_model=None, examinee_step=None, actor="x"
        )
        start_comparison.stop(connection, "babylon", reason="enough", actor="x")
        return parameters_of(found.id, found.parameters).control_share

    assert start("agent-99") == 0.1
    assert start("agent-4") == 0.2
    with pytest.raises(IllegalTransition, match=r"of lineage babylon .* of 13 agents"):
        start("agent-2")


def test_the_next_hour_is_found_without_reading_all_of_them(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out, state, scored_at)"
        " SELECT to_char(h AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00'), h, false, 'trained', h"
        " FROM generate_series('2026-01-31 09:00Z'::timestamptz - interval '60000 hours',"
        " '2026-01-31 09:00Z', '1 hour') AS h"
    )
    connection.execute("VACUUM ANALYZE training.windows")
    parameters = {"id": 1, "first": "2026-01-24T09:00", "last": "2026-01-31T08:00", "grace": 6}

    query = "EXPLAIN (COSTS off) " + statement("comparisons.next_window")
    plan = "\n".join(str(row[0]) for row in connection.execute(query, parameters).fetchall())

    assert "Seq Scan on windows" not in plan, plan
