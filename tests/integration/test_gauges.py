"""The figures of the whole system: what beat reads from Postgres and Redis for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import redis
from compared_hours import arms_of, begun, compared_hour, lineage
from factories import insert
from msgspec import structs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from scored_windows import column, hour, scored_window

from babylon_tasks.db import arms, events, lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline.compare import compare
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState, WindowState
from babylon_tasks.step_metrics import ENTROPY, MISMATCH_KL
from babylon_tasks.tasks.app import KEY_PREFIX, queues
from babylon_tasks.tasks.system_metrics import FAMILIES, SystemMetrics
from babylon_tasks.windows import window_end

pytestmark = pytest.mark.contract(None)
SOURCE_UP = "babylon_source_up"


def scrape(settings: Settings) -> dict[str, dict[tuple[str, ...], float]]:
    """Family to label values, in their names' order, to figure: as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(SystemMetrics(settings))
    text = generate_latest(registry).decode()
    return {
        family.name: {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in family.samples
        }
        for family in text_string_to_metric_families(text)
    }


def clock(connection: Connection) -> float:
    """Postgres's time, in seconds since 1970."""
    (now,) = column(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    assert isinstance(now, float)
    return now


@pytest.mark.contract("today")
def test_a_comparison_and_its_evidence_are_figures(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    screened = settings.model_copy(update={"promotion_mode": "screened"})
    lack = {("no_rewards", "babylon"): 1}
    assert scrape(screened)["babylon_comparison_impediment"] == lack
    assert scrape(screened)["babylon_comparison_running"] == {("babylon",): 0}
    begun(connection)
    arms.begin(
        connection, "babylon", structs.replace(arms_of(), from_window=arms.this_hour(connection))
    )
    compared_hour(connection, 0, serving=0.45)
    compare(connection, settings)

    found = scrape(settings)

    assert found["babylon_comparison_running"] == {("babylon",): 1}
    assert found["babylon_comparison_impediment"] == {}
    shares = {("control", "babylon"): 0.2, ("serving", "babylon"): 0.8}
    assert found["babylon_arm_share"] == shares
    assert found["babylon_comparison_windows"] == {("keep", "babylon"): 1}
    assert found["babylon_comparison_difference"][("babylon",)] < 0
    assert 0 < found["babylon_comparison_harm"][("babylon",)] < 1

    assert found["babylon_training_paused"] == {("babylon",): 0}
    (compared,) = column(connection, "SELECT id FROM training.comparisons")
    paused = {"comparison_id": compared, "window_id": hour(0), "reason": "r", "actor": "a"}
    insert(connection, "training.pauses", [paused | {"lineage": "babylon"}])
    assert scrape(settings)["babylon_training_paused"] == {("babylon",): 1}


def test_what_learning_costs_and_whether_the_budget_is_spent_are_figures(
    settings: Settings, connection: Connection
) -> None:
    detail = {"model": "openai/o3", "prompt_tokens": 9, "completion_tokens": 9, "usd": 3.0}
    events.record(connection, EventKind.JUDGED, actor="test", window=hour(1), detail=detail)

    found = scrape(settings)
    bounded = scrape(settings.model_copy(update={"budget": 2.0}))

    assert found["babylon_spent_dollars"] == {("judge", "babylon"): 3.0}
    assert (found["babylon_budget_dollars"], found["babylon_budget_spent"]) == (
        {},
        {("babylon",): 0},
    )
    assert bounded["babylon_budget_dollars"] == {("babylon",): 2.0}
    assert bounded["babylon_budget_spent"] == {("babylon",): 1}


def test_an_empty_system_has_zeros_and_no_lineage(settings: Settings) -> None:
    found = scrape(settings)

    assert set(found) == set(FAMILIES)
    assert found[SOURCE_UP] == {("postgres",): 1, ("redis",): 1}
    assert found["babylon_windows"] == {("babylon", state.value): 0 for state in WindowState}
    assert found["babylon_oldest_due_window_age_seconds"] == {("babylon",): 0}
    assert found["babylon_queue_messages"] == {(queue,): 0 for queue in queues(settings)}
    assert found["babylon_serving_step"] == {}


@pytest.mark.contract("today")
def test_windows_queues_and_rewards_are_counted(
    settings: Settings, connection: Connection, redis_url: str
) -> None:
    scored_window(connection, hour(1), state="trained")
    scored_window(connection, hour(2))
    connection.execute(
        "UPDATE training.windows SET right_share = 0.25, reward_std = 0.5, scored_at = now()"
        " WHERE window_id = %s",
        (hour(2),),
    )
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(f"{KEY_PREFIX}gpu.babylon", "a hint", "another")
        client.lpush("gpu", "another application's")

    before = clock(connection)
    found = scrape(settings)
    after = clock(connection)

    assert found["babylon_windows"][("babylon", "trained")] == 1
    assert found["babylon_windows"][("babylon", "scored")] == 1
    (age,) = found["babylon_oldest_due_window_age_seconds"].values()
    ended = window_end(hour(2)).timestamp()
    assert before - ended <= age <= after - ended, "the trained window waits for nothing"
    assert found["babylon_right_share"] == {(): 0.25}
    assert found["babylon_reward_spread"] == {(): 0.5}
    assert found["babylon_queue_messages"] == {
        ("cpu",): 0,
        ("gpu",): 0,
        ("upkeep",): 0,
        ("gpu.babylon",): 2,
    }


def test_a_lineage_has_figures_of_its_steps_decisions_evaluations_and_lease(
    settings: Settings, connection: Connection
) -> None:
    name = settings.lineage
    lineages.ensure(connection, settings)
    assert scrape(settings)["babylon_lease_age_seconds"] == {(name,): 0}, "nobody holds it"
    before = clock(connection)
    lineages.claim(connection, name, "someone", settings.lease_seconds)
    connection.execute(
        "UPDATE training.lineages SET head_step = 2, serving_step = 1,"
        " lease_until = lease_until - interval '30 s'"
    )
    step = {
        "lineage": name,
        "attempt": 1,
        "backend": "cpu",
        "windows": [hour(1)],
        "manifest_hash": "h",
        "manifest": "{}",
        "committed_at": "2026-01-31T10:00:00Z",
    }
    insert(
        connection,
        "training.steps",
        [
            step | {"base_step": 0, "target_step": 1, "state": "committed"},
            step
            | {"base_step": 1, "target_step": 2, "state": "committed"}
            | {"metrics": json.dumps({MISMATCH_KL: 0.02, ENTROPY: 1.5})},
            step | {"base_step": 2, "target_step": 3, "state": "failed", "committed_at": None},
        ],
    )
    decision = {"lineage": name, "reason": "r", "evidence": "{}", "actor": "a"}
    insert(
        connection,
        "training.promotions",
        [
            decision | {"decision": "promote", "from_step": 0, "to_step": 1},
            decision | {"decision": "hold", "from_step": 1, "to_step": 2},
            decision
            | {"decision": "hold", "from_step": 1, "to_step": 2}
            | {"evidence": json.dumps({"screen": {}})},
        ],
    )
    evaluated = {
        "lineage": name,
        "windows": [],
        "groups": 4,
        "coverage": 0.5,
        "entropy": 0.1,
        "group_values": "[]",
    }
    insert(
        connection,
        "training.evaluations",
        [
            evaluated | {"step": 1, "set_hash": "old", "value": 0.1},
            evaluated | {"step": 1, "set_hash": "new", "value": 0.6},
            evaluated | {"step": 2, "set_hash": "new", "value": 0.4},
        ],
    )

    found = scrape(settings)
    after = clock(connection)

    assert found["babylon_head_step"] == {(name,): 2}
    assert found["babylon_serving_step"] == {(name,): 1}
    assert found["babylon_lineage_leased"] == {(name,): 1}
    (age,) = found["babylon_lease_age_seconds"].values()
    assert 30 <= age <= 30 + after - before
    assert found["babylon_steps"] == {
        (name, state.value): {"committed": 2, "failed": 1}.get(state, 0) for state in StepState
    }
    assert found["babylon_last_committed_timestamp_seconds"] == {(name,): 1769853600}
    assert found["babylon_promotion_decisions"] == {
        ("promote", name): 1,
        ("hold", name): 2,
        ("rollback", name): 0,
    }
    assert found["babylon_refusals_in_a_row"] == {(name,): 1}, "not what only lacks evidence"
    assert found["babylon_lineage_troubled"] == {(name,): 0}
    assert found["babylon_mismatch_kl"] == {(name,): 0.02}
    assert found["babylon_policy_entropy"] == {(name,): 1.5}
    assert found["babylon_importance_ratio_mean"] == {}, "what is not reported is absent, not zero"
    assert found["babylon_evaluation_value"] == {("head", name): 0.4, ("serving", name): 0.6}


def test_the_commonest_answer_is_that_of_one_kind_of_question_as_the_gate_has_it(
    settings: Settings, connection: Connection
) -> None:
    """Opposite constants are no diversity; of a kind with few groups nothing is known. Where
    members acted differently in enough of them, these alone count."""
    lineages.ensure(connection, settings)

    def groups(
        key: str, number: int, contested: bool | None = True, **says: float
    ) -> list[dict[str, object]]:
        given = {} if contested is None else {"contested": contested}
        return [{"key": f"{key}|market=m-{n}", "says": says} | given for n in range(number)]

    two = groups("archetype=bull|decision=bet", 8, rise=0.95, fall=0.05)
    two += groups("archetype=bear|decision=bet", 8, rise=0.05, fall=0.95)
    agreed = groups("archetype=cat", 12, contested=False, rise=0.25, words=0.75)
    enough, few = (agreed + groups("archetype=cat", n, rise=0.875) for n in (8, 4))
    older = groups("archetype=cat", 8, contested=None, rise=0.5)
    evaluated = {
        "lineage": settings.lineage,
        "step": 0,
        "windows": [],
        "groups": 1,
        "value": 0.5,
        "coverage": 0.5,
        "entropy": 0.1,
    }
    found = []
    for n, kinds in enumerate((groups("archetype=cat", 7, wait=1.0), two, enough, few, older)):
        row = evaluated | {"set_hash": f"{n}", "group_values": json.dumps(kinds)}
        insert(connection, "training.evaluations", [row])
        found.append(scrape(settings)["babylon_evaluation_commonest_answer"])

    both = [("head", settings.lineage), ("serving", settings.lineage)]
    shares = [0.95, 0.875, 0.75 * 12 / 16, 0.5]
    assert found == [{}, *(pytest.approx(dict.fromkeys(both, share)) for share in shares)]


def test_refusals_end_with_a_promotion_and_trouble_with_its_mending(
    settings: Settings, connection: Connection
) -> None:
    name = settings.lineage
    lineages.ensure(connection, settings)
    lineages.note_trouble(connection, name, "checkpoint 2 cannot be loaded: gone")
    decided = {"lineage": name, "reason": "r", "evidence": "{}", "actor": "a"}
    against = decided | {"decision": "rollback", "from_step": 2, "to_step": 1}
    insert(connection, "training.promotions", [against, against])

    found = scrape(settings)
    assert found["babylon_refusals_in_a_row"] == {(name,): 2}
    assert found["babylon_lineage_troubled"] == {(name,): 1}

    promoted = decided | {"decision": "promote", "from_step": 1, "to_step": 3}
    insert(connection, "training.promotions", [promoted])
    lineages.note_trouble(connection, name, None)
    found = scrape(settings)
    assert found["babylon_refusals_in_a_row"] == {(name,): 0}
    assert found["babylon_lineage_troubled"] == {(name,): 0}


def test_a_source_that_is_away_is_a_figure_and_the_other_one_is_still_read(
    make_settings: Callable[..., Settings], redis_url: str
) -> None:
    unserved = f"127.0.0.1:{free_port()}"
    found = scrape(make_settings(REDIS_URL=f"redis://{unserved}/0"))
    assert found[SOURCE_UP] == {("postgres",): 1, ("redis",): 0}
    assert found["babylon_queue_messages"] == {}
    assert found["babylon_windows"][("babylon", "open")] == 0

    found = scrape(
        make_settings(REDIS_URL=redis_url, DATABASE_URL=f"postgresql://babylon@{unserved}/b")
    )
    assert found[SOURCE_UP] == {("postgres",): 0, ("redis",): 1}
    assert found["babylon_windows"] == {}
    assert set(found["babylon_queue_messages"]) == {(queue,) for queue in queues(make_settings())}


def test_so_is_a_source_that_is_too_slow_for_its_own_bounds(
    make_settings: Callable[..., Settings],
    connection: Connection,
    database_url: str,
    redis_url: str,
) -> None:
    bounded = f"{database_url}?options=-c%20statement_timeout%3D500"
    with connection.transaction():
        connection.execute("LOCK TABLE training.windows IN ACCESS EXCLUSIVE MODE")
        found = scrape(make_settings(REDIS_URL=redis_url, DATABASE_URL=bounded))
    assert found[SOURCE_UP] == {("postgres",): 0, ("redis",): 1}
