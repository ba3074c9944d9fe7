"""``compare status|start|stop``."""

from __future__ import annotations

from command_line import Run, one_contract
from compared_hours import begun, compared_hour, lineage
from scored_windows import hour

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.settings import Settings

pytestmark = one_contract


def test_status_tells_what_reconcile_concluded(
    run: Run, connection: Connection, settings: Settings
) -> None:
    assert run("compare", "status", "--json").document == {"comparison": None}
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
