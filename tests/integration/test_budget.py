"""A spent budget stops planning, and nothing else; it is worked out anew at each look."""

from __future__ import annotations

from datetime import timedelta

import pytest
from factories import WINDOW
from peer import PeerTrainer
from psycopg.types.json import Jsonb
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings
from training_steps import kinds, peer, state, train, warm

from babylon_tasks.db import clock, events, lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import SettingsError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.windows_to_train import pick_to_train
from babylon_tasks.registry import budget
from babylon_tasks.settings import Settings
from babylon_tasks.training.trainer_start import TrainerReady

pytestmark = pytest.mark.contract("today")
BUDGET = ["budget_spent", "budget_left"]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(budget=5.0, budget_hours=24, gpu_hour_price=1.0, retry_delay_seconds=0)


def paid(connection: Connection, usd: float, hours_ago: float = 0) -> None:
    """The judge was paid so long ago."""
    detail = {"model": "openai/o3", "prompt_tokens": 9, "completion_tokens": 9, "usd": usd}
    connection.execute(
        "INSERT INTO training.events (window_id, kind, detail, actor, happened_at)"
        " VALUES (%s, 'judged', %s, 'test', now() - make_interval(hours => %s))",
        (WINDOW, Jsonb(detail), hours_ago),
    )


def noted(connection: Connection) -> list[object]:
    return [kind for kind in kinds(connection) if kind in BUDGET]


def test_once_it_is_spent_nothing_is_planned_and_nothing_has_begun(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    paid(connection, 5.0, hours_ago=20)
    trainer = peer(settings)

    asked, idle = train(settings, trainer, WINDOW), train(settings, trainer)

    assert (asked.action, idle.action) == ("busy", "idle")
    for one in (asked, idle):
        assert "$5.00 of $5.00 is spent on learning in the last 24 hours" in (one.reason or "")
        assert "no step is planned until" in (one.reason or "")
    assert state(connection) == "scored"
    assert column(connection, "SELECT id FROM training.steps") == []
    assert column(connection, "SELECT step_id FROM training.consumption") == []
    assert pick_to_train(connection, settings, limit=9) == []
    assert trainer.requests == []


def test_a_small_budget_is_named_with_the_digits_that_it_has(
    connection: Connection, make_settings: MakeSettings
) -> None:
    paid(connection, 0.0034)

    found = budget.read(connection, make_settings(budget=0.003, gpu_hour_price=1.0))

    assert found is not None
    assert found.text.startswith("$0.0034 of $0.003 is spent")


def test_it_goes_on_by_itself_at_the_moment_that_was_named(
    connection: Connection, settings: Settings
) -> None:
    paid(connection, 3.0, hours_ago=20)
    paid(connection, 4.0, hours_ago=10)
    lineages.ensure(connection, settings)
    now = clock.now(connection)

    found = budget.read(connection, settings)

    assert found is not None
    assert found.until is not None
    assert abs(found.until - now - timedelta(hours=4)) < timedelta(minutes=1)
    of_half_a_day = settings.model_copy(update={"budget_hours": 12})
    assert budget.why_waits(connection, of_half_a_day) is None


@pytest.mark.parametrize(
    "change",
    [{"budget": 6.0}, {"budget": None}, {"ruler_prompt_price": 0, "ruler_completion_price": 0}],
)
def test_another_budget_or_price_counts_at_once(
    connection: Connection, settings: Settings, change: dict[str, float | None]
) -> None:
    scored_window(connection)
    paid(connection, 5.5)
    assert train(settings, peer(settings)).action == "idle"

    ended = train(settings.model_copy(update=change), peer(settings))

    assert ended.action == "committed"
    assert noted(connection) == BUDGET


def test_what_has_begun_is_ended(connection: Connection, settings: Settings) -> None:
    scored_window(connection)
    broken = train(settings, peer(settings, falls="before_writing"))
    scored_window(connection, hour(1))
    paid(connection, 5.0)

    ended = train(settings, peer(settings), WINDOW)

    assert (broken.action, ended.action) == ("failed", "committed")
    assert train(settings, peer(settings)).action == "idle"
    assert state(connection, hour(1)) == "scored"


def test_it_is_spent_while_a_claimant_is_on_its_way(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer = peer(settings)
    ready = trainer.ready

    def ready_late() -> TrainerReady:
        paid(connection, 5.0)
        return ready()

    trainer.ready = ready_late  # type: ignore[method-assign]

    ended = train(settings, trainer, WINDOW)

    assert ended.action == "idle"
    assert "the budget is spent" in (ended.reason or "")
    assert column(connection, "SELECT id FROM training.steps") == []


def test_a_supervised_step_is_not_planned_either(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    paid(connection, 5.0)

    found = warm(settings)

    assert found.step is None
    assert "the budget is spent" in (found.refused or "")


def test_that_it_is_spent_and_no_longer_is_on_record_once(
    connection: Connection, settings: Settings
) -> None:
    lineages.ensure(connection, settings)
    reconcile(settings, actor="beat")
    assert noted(connection) == []
    paid(connection, 5.0)

    for _ in range(2):
        reconcile(settings, actor="beat")

    assert noted(connection) == ["budget_spent"]
    raised = settings.model_copy(update={"budget": 9.0})
    for _ in range(2):
        reconcile(raised, actor="beat")
    assert noted(connection) == BUDGET
    [detail, _] = column(
        connection, "SELECT detail FROM training.events WHERE kind LIKE 'budget%%' ORDER BY id"
    )
    assert isinstance(detail, dict)
    assert (detail["budget"], detail["spent"], detail["hours"]) == (5.0, 5.0, 24.0)


def test_what_has_no_price_does_not_count_and_is_named(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    events.record(
        connection,
        EventKind.JUDGED,
        actor="test",
        window=WINDOW,
        detail={"model": "own", "prompt_tokens": 9, "completion_tokens": 9, "usd": None},
    )

    found = budget.read(connection, settings)

    assert found is not None
    assert (found.spent.money, found.until) == (None, None)
    assert "1 windows graded by own" in (found.not_counted or "")
    assert train(settings, PeerTrainer(settings.data_dir)).action == "committed"


def test_a_budget_without_a_price_of_training_is_refused(make_settings: MakeSettings) -> None:
    with pytest.raises((SettingsError, ValueError), match="BABYLON_GPU_HOUR_PRICE"):
        make_settings(budget=5.0)
