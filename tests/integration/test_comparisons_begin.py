"""A comparison begins by itself once agents can be compared, or it is said what is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest
from compared_hours import compared_hour, lineage
from scored_windows import column, hour

from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.db import arms, comparisons
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.pipeline import start_comparison
from babylon_tasks.pipeline.begin_comparison import begin_by_itself, comparison_outlook
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.comparison_metrics import samples

pytestmark = pytest.mark.contract("today")
MakeSettings = Callable[..., Settings]
UPSTREAMS = {"groq": {"base_url": "https://groq.test/v1", "models": ["qwen/*"]}}
ARMS = (
    "SELECT (control_share, control_step, control_model, examinee_share)::text"
    " FROM training.arms ORDER BY id"
)


def screened(make_settings: MakeSettings, **values: object) -> Settings:
    return make_settings(
        **{"promotion_mode": "screened", "gateway_upstreams": UPSTREAMS, "WANDB_API_KEY": None}
        | values
    )


def test_upkeep_begins_a_comparison_with_what_serves(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings, comparison_margin=0.03)

    for _ in range(2):
        reconcile(settings, actor="test")

    (begun,) = column(connection, "SELECT id FROM training.comparisons")
    running = comparisons.running(connection, "babylon")
    assert running is not None
    assert (running.id, running.anchor_step, running.actor) == (begun, 2, "comparison")
    parameters = msgspec.json.decode(running.parameters, type=ComparisonParameters)
    assert (parameters.reward.margin, parameters.ramp) == (0.03, None)
    assert column(connection, ARMS) == ["(0.1,2,,0)"]


def test_an_external_anchor_answers_all_until_it_ramps_from_the_floor(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = screened(make_settings, anchor_model="qwen/qwen3-32b")
    lineage(connection)

    assert begin_by_itself(connection, settings) is None
    assert begin_by_itself(connection, settings) is None

    assert column(connection, ARMS) == ["(1,,qwen/qwen3-32b,0)"]
    outlook = comparison_outlook(connection, settings)
    assert outlook.text.startswith("none: no hour has rewards yet")
    assert outlook.text.endswith("until then qwen/qwen3-32b answers all")

    compared_hour(connection, 0)
    begun = begin_by_itself(connection, settings)

    assert begun is not None
    assert begun.anchor_model == "qwen/qwen3-32b"
    assert column(connection, ARMS)[1:] == ["(0.95,,qwen/qwen3-32b,0)"]


def test_an_anchor_that_is_taken_back_before_a_comparison_answers_nobody(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    begin_by_itself(connection, screened(make_settings, anchor_model="qwen/qwen3-32b"))

    begin_by_itself(connection, screened(make_settings))

    assert column(connection, ARMS) == ["(1,,qwen/qwen3-32b,0)", "(0,,,0)"]


@pytest.mark.parametrize("mode", ["evaluated", "manual"])
def test_it_is_begun_by_hand_in_other_modes(
    connection: Connection, make_settings: MakeSettings, mode: str
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings, promotion_mode=mode, anchor_model="qwen/qwen3-32b")

    assert begin_by_itself(connection, settings) is None

    assert column(connection, ARMS) == []
    assert f"promotion is {mode}" in comparison_outlook(connection, settings).text
    assert comparison_outlook(connection, settings).lacks is None


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ("DELETE FROM training.calls", "no_calls"),
        ("UPDATE training.calls SET agent = NULL", "no_names"),
        (
            "UPDATE training.calls SET step = NULL, arm = NULL, server = 'groq', model = 'qwen/x'",
            "other_models",
        ),
        ("DELETE FROM training.calls WHERE agent > 'agent-4'", "too_few_ask"),
        ("DELETE FROM training.calls WHERE agent > 'agent-3'", "too_few_agents"),
    ],
)
def test_what_cannot_be_compared_is_named(
    connection: Connection, make_settings: MakeSettings, change: str, lack: str
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    connection.execute(change)  # type: ignore[call-overload]
    settings = screened(make_settings)

    assert begin_by_itself(connection, settings) is None

    found = comparison_outlook(connection, settings)
    assert found.lacks is not None
    assert found.lacks.lack == lack
    assert found.lacks.todo in found.text


def test_what_was_stopped_is_not_begun_again(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings)
    begin_by_itself(connection, settings)
    start_comparison.stop(connection, "babylon", reason="a holiday", actor="cli:mo")

    assert begin_by_itself(connection, settings) is None

    assert "ended by cli:mo" in comparison_outlook(connection, settings).text


def test_a_ramp_that_is_stopped_leaves_all_agents_to_the_model_that_they_had(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings, anchor_model="qwen/qwen3-32b")
    begin_by_itself(connection, settings)

    start_comparison.stop(connection, "babylon", reason="enough", actor="cli:mo")
    begin_by_itself(connection, settings)

    assert column(connection, ARMS)[-1] == "(1,,qwen/qwen3-32b,0)"
    for ended in (True, False):
        found = start_comparison.stop(
            connection, "babylon", reason="it is good", actor="cli:mo", to_serving=True
        )
        assert (found is not None) is ended
        assert column(connection, ARMS)[-1] == "(0,,,0)"


def test_one_that_has_lost_its_anchor_gives_way_to_another(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings)
    first = begin_by_itself(connection, settings)
    assert first is not None
    with connection.transaction():
        arms.end_those_of(connection, "babylon", {2})
        connection.execute("UPDATE training.lineages SET serving_step = 1")

    second = begin_by_itself(connection, settings)

    assert second is not None
    assert second.anchor_step == 1
    why = column(connection, "SELECT reason FROM training.ended_comparisons")
    assert why == ["the anchor's branch is dead, so its arm was ended"]


def test_one_that_has_lost_its_anchor_is_over_where_none_begins_by_itself(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    assert begin_by_itself(connection, screened(make_settings)) is not None
    arms.end_those_of(connection, "babylon", {2})
    settings = screened(make_settings, compare=False)
    outlook = comparison_outlook(connection, settings).text
    assert "has lost its anchor" in outlook
    assert "BABYLON_COMPARE=false" in outlook

    reconcile(settings, actor="test")

    assert comparisons.running(connection, "babylon") is None
    why = column(connection, "SELECT reason FROM training.ended_comparisons")
    assert why == ["the anchor's arm was ended, so nothing can be compared with it"]


def test_where_no_other_can_take_its_place_it_is_said_why(
    connection: Connection, make_settings: MakeSettings
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings)
    begin_by_itself(connection, settings)
    arms.end_those_of(connection, "babylon", {2})
    assert "the next upkeep begins another" in comparison_outlook(connection, settings).text
    connection.execute("DELETE FROM training.calls")

    reconcile(settings, actor="test")

    found = comparison_outlook(connection, settings)
    assert found.lacks is not None
    assert found.lacks.lack == "no_calls"
    assert "has lost its anchor babylon@2" in found.text
    assert found.lacks.todo in found.text
    lacks = [one.labels for one in samples(connection, settings) if "impediment" in one.family]
    assert lacks == [{"lineage": "babylon", "lack": "no_calls"}]


def test_a_model_that_no_server_lists_answers_nobody(
    connection: Connection, make_settings: MakeSettings
) -> None:
    """At the floor of a ramp it would have 95 % of the agents."""
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings)

    def start(model: str) -> Comparison:
        return start_comparison.start(
            connection,
            settings,
            anchor_step=None,
            anchor_model=model,
            examinee_step=None,
            actor="test",
        )

    with pytest.raises(IllegalTransition, match=r"no server .* lists qwne/qwen3-32b"):
        start("qwne/qwen3-32b")
    assert column(connection, ARMS) == []
    assert start("qwen/qwen3-32b").anchor_model == "qwen/qwen3-32b"


@pytest.mark.parametrize(
    ("anchor", "proof"), [("qwen/qwen3-32b", "examinee"), (0, "average"), (1, "examinee")]
)
def test_nothing_is_put_on_trial_that_could_not_be_proven(
    connection: Connection, make_settings: MakeSettings, anchor: str | int, proof: str
) -> None:
    """It would be in an arm that ends with the first hour, and the next step would wait for it."""
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings, comparison_proof=proof)
    step, model = (anchor, None) if isinstance(anchor, int) else (None, anchor)

    with pytest.raises(IllegalTransition, match="without --examinee"):
        start_comparison.start(
            connection,
            settings,
            anchor_step=step,
            anchor_model=model,
            examinee_step=1,
            actor="test",
        )

    assert column(connection, ARMS) == []


def test_callers_at_once_begin_one(connection: Connection, make_settings: MakeSettings) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    settings = screened(make_settings)
    together = threading.Barrier(3)

    def call() -> None:
        with session(settings) as own:
            together.wait()
            begin_by_itself(own, settings)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert column(connection, "SELECT count(*) FROM training.comparisons") == [1]
    assert column(connection, "SELECT count(*) FROM training.arms") == [1]
    assert comparisons.asking(connection, "babylon").window == hour(0)
