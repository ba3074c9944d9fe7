"""KEDA's queries, asked of a real database as KEDA asks: what waits and what runs is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from copies import ROOT
from factories import insert
from one_moment import alter, lineage, step
from scored_windows import column

from babylon_tasks.db import events, pauses, tripwires
from babylon_tasks.db.session import Connection
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.processes import ProcessName
from babylon_tasks.states import WINDOW_TRANSITIONS, WindowState
from checks.drift.scaling import COUNTED
from checks.renderings import render_all

pytestmark = pytest.mark.contract(None)
ROLE = "keda_reader"


@pytest.fixture(scope="module")
def queries() -> dict[str, str]:
    """The query of each ScaledObject, by the process that it scales."""
    rendered, unrendered = render_all(
        ROOT, [("overlays/production", "serverless", "scale-to-zero")]
    )
    assert unrendered == []
    triggers: dict[str, list[dict[str, Any]]] = {
        one.spec["scaleTargetRef"]["name"]: one.spec["triggers"]
        for one in rendered[0].of("ScaledObject")
    }
    return {name: trigger["metadata"]["query"] for name, (trigger,) in triggers.items()}


@pytest.fixture
def reader(connection: Connection) -> Iterator[Connection]:
    """A connection of a role with the rights that k8s/README.md names for KEDA."""
    grants = (
        "GRANT USAGE ON SCHEMA training",
        "GRANT SELECT ON training.windows, training.lineage_windows, training.pauses, "
        "training.lifted_pauses, training.tripwires, training.accepted_tripwires",
        "GRANT SELECT (lineage, state, windows) ON training.steps",
        "GRANT SELECT (id, lineage, kind) ON training.events",
    )
    readme = (ROOT / "k8s" / "README.md").read_text("utf-8")
    assert all(grant in readme for grant in grants)
    connection.execute(f"CREATE ROLE {ROLE}")
    for grant in grants:
        connection.execute(f"{grant} TO {ROLE}")
    connection.execute(f"SET ROLE {ROLE}")
    yield connection
    connection.execute("RESET ROLE")
    connection.execute(f"DROP OWNED BY {ROLE}")
    connection.execute(f"DROP ROLE {ROLE}")


def windows(connection: Connection, numbers: dict[WindowState, int]) -> None:
    """So many windows in each state."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    states = [state for state, number in numbers.items() for _ in range(number)]
    for hour, state in enumerate(states):
        starts_at = start + timedelta(hours=hour)
        connection.execute(
            "INSERT INTO training.windows (window_id, starts_at, held_out, state)"
            " VALUES (%s, %s, false, %s)",
            (starts_at.strftime("%Y-%m-%dT%H:00"), starts_at, state),
        )


def ask(connection: Connection, query: str) -> float:
    """One row of one column that is a number: what KEDA's scaler reads."""
    ((count,),) = connection.execute(query).fetchall()
    return float(count)


def test_both_workers_are_scaled(queries: dict[str, str]) -> None:
    assert set(queries) == {ProcessName.CPU_WORKER, ProcessName.GPU_WORKER}


def test_nothing_waits_in_an_empty_system(reader: Connection, queries: dict[str, str]) -> None:
    assert [ask(reader, query) for query in queries.values()] == [0, 0]


def test_what_waits_and_what_runs_is_counted_and_nothing_else(
    connection: Connection, queries: dict[str, str], request: pytest.FixtureRequest
) -> None:
    # A different number in each state, so that no sum of two could pass for another.
    numbers = {state: 2**place for place, state in enumerate(WindowState)}
    windows(connection, numbers)
    reader = request.getfixturevalue("reader")

    sealed, scoring = numbers[WindowState.SEALED], numbers[WindowState.SCORING]
    scored, training = numbers[WindowState.SCORED], numbers[WindowState.TRAINING]
    assert ask(reader, queries["cpu-worker"]) == sealed + scoring
    assert ask(reader, queries["gpu-worker"]) == scored + training


def test_a_worker_is_kept_until_its_window_is_done(
    connection: Connection, queries: dict[str, str]
) -> None:
    """The window of a running task is in no Redis list; by its row it keeps its worker."""
    windows(connection, {WindowState.SEALED: 1})
    counts = []
    for state in (
        WindowState.SEALED,
        WindowState.SCORING,
        WindowState.SCORED,
        WindowState.TRAINING,
        WindowState.TRAINED,
    ):
        connection.execute("UPDATE training.windows SET state = %s", (state,))
        counts.append([ask(connection, queries[name]) for name in ("cpu-worker", "gpu-worker")])
    assert counts == [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]]


def test_a_window_that_waits_for_outcomes_keeps_no_trainer(
    connection: Connection, queries: dict[str, str]
) -> None:
    windows(connection, {WindowState.SCORED: 1})
    for name, value, count in (
        ("waits_until", "now() + interval '1 day'", 0),
        ("waits_until", "now() - interval '1 day'", 1),
        ("rescore", "'outcomes came'", 0),
        ("rescore", "NULL", 1),
        ("reason", "'too_few_agents'", 0),
    ):
        connection.execute(f"UPDATE training.windows SET {name} = {value}")  # type: ignore[arg-type]  # noqa: S608
        assert ask(connection, queries["gpu-worker"]) == count


def test_what_is_to_be_tried_again_later_does_not_wait_yet(
    connection: Connection, queries: dict[str, str]
) -> None:
    windows(connection, {WindowState.SEALED: 1, WindowState.SCORED: 1})
    lineage(connection)
    for when, counted in (("+", 0), ("-", 1)):
        alter(connection, "windows", f"next_attempt_at = now() {when} interval '1 hour'")
        assert [ask(connection, query) for query in queries.values()] == [counted, counted]
    connection.execute(
        "INSERT INTO training.lineage_windows (window_id, lineage, next_attempt_at)"
        " SELECT window_id, 'babylon', now() + interval '1 hour' FROM training.windows"
        " WHERE state = 'scored'"
    )
    assert ask(connection, queries["gpu-worker"]) == 0


def test_while_no_step_may_be_planned_only_one_in_work_keeps_the_trainer(
    connection: Connection, queries: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """A pause, a budget that is spent, a tripwire: a person or the clock decides, not a worker."""
    windows(connection, {WindowState.SCORED: 2})
    lineage(connection)
    reader = request.getfixturevalue("reader")

    def count() -> float:
        reader.execute(f"SET ROLE {ROLE}")
        found = ask(reader, queries["gpu-worker"])
        reader.execute("RESET ROLE")
        return found

    counts = [count()]
    (compared,) = column(
        connection,
        "INSERT INTO training.comparisons (lineage, anchor_model, parameters, began_window, actor)"
        " VALUES ('babylon', 'other', '{}', 'w', 'test') RETURNING id",
    )
    paused = {"comparison_id": compared, "window_id": "w", "reason": "r", "actor": "a"}
    insert(connection, "training.pauses", [paused | {"lineage": "babylon"}])
    counts.append(count())
    pauses.lift(connection, "babylon", reason="looked", actor="cli:mo")
    counts.append(count())
    for kind in (EventKind.BUDGET_SPENT, EventKind.BUDGET_LEFT):
        events.record(connection, kind, actor="test", lineage="babylon", detail={})
        counts.append(count())
    tripped = {"lineage": "babylon", "target_step": 1, "kind": "outcome_words", "policy": "hold"}
    what = {"what": "w", "measured": 1, "bound": 0, "source": "s", "evidence": "{}", "actor": "a"}
    window = f"{datetime(2026, 1, 1, tzinfo=UTC):%Y-%m-%dT%H:00}"
    found = tripped | what | {"window_id": window, "reward_version": 1}
    insert(connection, "training.tripwires", [found])
    counts.append(count())
    tripwires.accept(connection, "babylon", window, actor="cli:mo")
    counts.append(count())
    insert(connection, "training.pauses", [paused | {"lineage": "babylon"}])
    step(connection, [window])
    counts.append(count())
    assert counts == [2, 0, 2, 0, 2, 1, 2, 1]


def test_a_window_keeps_the_trainer_of_each_lineage_that_may_take_it(
    connection: Connection, queries: dict[str, str]
) -> None:
    windows(connection, {WindowState.SCORED: 1, WindowState.TRAINING: 1})
    for name in ("babylon", "other"):
        connection.execute(
            "INSERT INTO training.lineages (name, base_model, backend) VALUES (%s, 'base', 'cpu')",
            (name,),
        )
        connection.execute(
            "INSERT INTO training.lineage_windows (window_id, lineage, state)"
            " SELECT window_id, %s, 'skipped' FROM training.windows WHERE state = 'scored'",
            (name,),
        )
        query = queries["gpu-worker"]
        assert ask(connection, query) == 1
        assert ask(connection, query.replace("'babylon'", "'other'")) == (name == "babylon") + 1


def test_a_window_in_anothers_step_keeps_the_trainer_only_if_it_may_be_taken_too(
    connection: Connection, queries: dict[str, str], request: pytest.FixtureRequest
) -> None:
    windows(connection, {WindowState.TRAINING: 1})
    (window,) = column(connection, "SELECT window_id FROM training.windows")
    for name in ("babylon", "other"):
        lineage(connection, name)
    step(connection, [str(window)], lineage="other")
    reader = request.getfixturevalue("reader")

    def counts() -> list[float]:
        query = queries["gpu-worker"]
        reader.execute(f"SET ROLE {ROLE}")
        found = [ask(reader, query), ask(reader, query.replace("'babylon'", "'other'"))]
        reader.execute("RESET ROLE")
        return found

    assert counts() == [1, 1]
    alter(connection, "windows", "rescore = 'rows changed'")
    assert counts() == [0, 1]
    alter(connection, "windows", "rescore = NULL, waits_until = now() + interval '1 day'")
    assert counts() == [0, 1]
    alter(connection, "steps", "state = 'committed'")
    assert counts() == [0, 0]


def test_every_state_that_work_leads_out_of_is_counted_by_one_worker() -> None:
    """A new state of a window cannot be forgotten: its work would be scaled away."""
    counted = [state for states in COUNTED.values() for state in states]
    assert len(counted) == len(set(counted))
    # Out of `open` leads the clock, out of `held_out` and `skipped` an outcome that comes late:
    # every cpu-worker that there is looks at both. Out of `failed`, a person; out of `trained`, a
    # refusal or a rollback, by whoever does it.
    of_others = {
        WindowState.OPEN,
        WindowState.HELD_OUT,
        WindowState.SKIPPED,
        WindowState.FAILED,
        WindowState.TRAINED,
    }
    assert (
        set(counted)
        == {state for change in WINDOW_TRANSITIONS for state in change.sources} - of_others
    )


def test_the_reader_may_read_nothing_else(reader: Connection) -> None:
    for denied in ("* FROM training.lineages", "manifest FROM training.steps"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"SELECT {denied}")  # type: ignore[arg-type]
