"""``compare status|start|stop``."""

from __future__ import annotations

import pytest
from command_line import Run, one_contract
from compared_hours import PARAMETERS, arms_of, begun, compared_hour, lineage
from msgspec import structs
from msgspec.structs import replace
from scored_windows import hour

from babylon_tasks.cli.babylon_demo import what_is_missing
from babylon_tasks.comparison.parameters import Ramp
from babylon_tasks.db import arms, pauses
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.sandbox.babylon_world.results import ModelShares, PlayedHour
from babylon_tasks.settings import Settings
from babylon_tasks.tasks import comparison_metrics

pytestmark = one_contract


def test_status_tells_what_reconcile_concluded(
    run: Run, connection: Connection, settings: Settings
) -> None:
    nothing = run("compare", "status", "--json").document
    assert nothing == {"comparison": None, "figures": None, "lacks": None, "block": 1}
    assert "compares nothing" in run("compare", "status").out
    lineage(connection)
    begun(connection)
    compared_hour(connection, 0, serving=0.4)

    reconcile(settings, actor="test")

    found = run("compare", "status", "--json").document["comparison"]
    assert found["conclusions"] == {"keep": 1}
    assert (found["last"]["window"], found["last"]["conclusion"]) == (hour(0), "keep")
    assert found["parameters"]["control_share"] == 0.2
    text = run("compare", "status").out
    assert "with babylon@0" in text
    assert "nothing is shown yet; what serves against the anchor: -0.1" in text


def test_where_it_stands_is_told_in_status_and_doctor(
    run: Run, connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    assert "comparison: none: promotion is evaluated" in run("status").out
    begun(connection, examinee=1)
    window = arms.this_hour(connection)
    drawn = structs.replace(arms_of(1), from_window=window)
    arms.begin(connection, "babylon", drawn)
    for number in range(2):
        compared_hour(connection, number, serving=0.45)
    reconcile(settings, actor="test")

    (line,) = [one for one in run("status").out.splitlines() if one.startswith("comparison")]

    assert "with babylon@0: 60% serving babylon@2, 20% control babylon@0, 20% examinee" in line
    assert "2 windows; harm" in line
    assert "trial" in line
    assert "of 20 after 2 windows" in line
    found = run("compare", "status", "--json").document["figures"]
    assert [one["policy"] for one in found["arms"]] == ["babylon@2", "babylon@0", "babylon@1"]
    assert 0 < found["harm"] < 1
    checked = run("doctor", "--json").document["findings"]
    (finding,) = [one for one in checked if one["check"] == "comparison"]
    assert finding["outcome"] == "ok"
    assert finding["detail"] == line


def test_a_demo_that_ends_below_the_largest_share_says_what_evidence_there_was(
    connection: Connection, settings: Settings
) -> None:
    model = ModelShares("babylon@2", 8, 1.0, 1.0, 1.0)
    played = [PlayedHour(hour(0), 0.2, 2, 2, "promote", "keep", model, model)]
    assert (what_is_missing(settings, played) or "").endswith("; no comparison has begun")
    lineage(connection)
    begun(connection, examinee=1)
    assert (what_is_missing(settings, played) or "").endswith("; no window was compared")
    compared_hour(connection, 0, serving=0.45)
    reconcile(settings, actor="test")
    said = what_is_missing(settings, played) or ""
    assert said.startswith("after hour 1, 20% of the agents are ours, at most 20% were")
    assert f"; last, {hour(0)}: keep: nothing is shown yet" in said
    assert said.endswith("of the 20 needed")


def test_a_ramp_is_told_in_status_and_in_metrics(
    run: Run, connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    ramp = Ramp(shares=(0.2, 0.3, 0.5, 0.8), budget=0.5)
    begun(connection, anchor="groq/qwen", parameters=replace(PARAMETERS, guard=None, ramp=ramp))
    assert "ramp at floor, 20%, loss 0 of 0.5" in run("status").out
    compared_hour(connection, 0, serving=0.3)
    reconcile(settings, actor="test")

    text = run("compare", "status").out
    found = {one.family: one.value for one in comparison_metrics.samples(connection, settings)}

    lost = found["babylon_ramp_loss"] * 0.5
    assert lost == pytest.approx(0.2 * 0.2, abs=0.02)
    assert found["babylon_ramp_share"] == 0.2
    assert f"ramp: at floor, 20% of the agents; it has cost {lost:.3g} per agent, of 0.5" in text
    assert f"ramp at floor, 20%, loss {lost:.3g} of 0.5" in run("status").out


def test_what_keeps_a_comparison_from_beginning_is_a_warning(
    run: Run, connection: Connection
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    connection.execute("DELETE FROM training.calls")
    screened = {"BABYLON_PROMOTION_MODE": "screened"}

    assert "the gateway captured no call" in run("status", **screened).out
    checked = run("doctor", "--json", **screened).document["findings"]
    (finding,) = [one for one in checked if one["check"] == "comparison"]
    assert (finding["outcome"], "let agents ask the gateway" in finding["todo"]) == ("warn", True)


def test_doctor_names_an_hour_that_is_no_evidence_and_a_pause(
    run: Run, connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    comparison = begun(connection)
    compared_hour(connection, 0, through_gateway=0.5)
    reconcile(settings, actor="test")
    with connection.transaction():
        pauses.begin(
            connection,
            "babylon",
            comparison_id=comparison.id,
            window=hour(0),
            reason="3 rollbacks",
            actor="comparison",
        )

    found = {one["check"]: one for one in run("doctor", "--json").document["findings"]}

    assert "see whether they reach the gateway" in found["comparison"]["detail"]
    assert found["comparison"]["outcome"] == "warn"
    assert (found["pause"]["outcome"], "3 rollbacks" in found["pause"]["detail"]) == (
        "fail",
        True,
    )


def test_a_comparison_is_started_once_and_stopped_once(run: Run, connection: Connection) -> None:
    lineage(connection)
    assert run("compare", "start").code == 2
    assert run("compare", "start", "--anchor-step", "0").code == 3
    compared_hour(connection, 0)

    started = run("compare", "start", "--anchor-step", "babylon@0", "--examinee", "1", "--json")

    assert started.code == 0
    assert started.document["comparison"]["anchor_step"] == 0
    refused = run("compare", "start", "--anchor-model", "groq/x")
    assert (refused.code, "compare stop" in refused.err) == (3, True)
    assert run("compare", "stop", "--reason", "enough").code == 0
    assert "ended by cli:" in run("compare", "status").out
    assert run("compare", "stop", "--reason", "enough").code == 3


def test_a_pause_is_told_and_lifted(run: Run, connection: Connection) -> None:
    lineage(connection)
    comparison = begun(connection)
    compared_hour(connection, 0)
    assert run("compare", "resume", "--reason", "x").code == 3
    why = "what serves is worse than the anchor; 3 rollbacks in 168 h"
    pauses.begin(
        connection,
        "babylon",
        comparison_id=comparison.id,
        window=hour(0),
        reason=why,
        actor="comparison",
    )

    said = run("status").out
    assert "paused: training has been paused since" in said
    assert why in said
    assert "compare resume" in run("why", hour(0)).out
    assert run("status", "--json").document["pause"]["window"] == hour(0)
    resumed = run("compare", "resume", "--reason", "the scorer was wrong", "--json")
    assert (resumed.code, resumed.document["resumed"]["reason"]) == (0, why)
    assert run("status", "--json").document["pause"] is None
    assert "the scorer was wrong" in run("why", hour(0)).out
