"""``circuit reset``, and what ``status`` shows of an open circuit."""

from __future__ import annotations

from command_line import Run, one_contract

from babylon_tasks.db import circuits
from babylon_tasks.db.session import Connection
from babylon_tasks.faults import Fault
from babylon_tasks.settings import Settings

pytestmark = one_contract


def test_status_shows_an_open_circuit_and_reset_closes_it(
    run: Run, connection: Connection, settings: Settings
) -> None:
    assert "no circuit was open" in run("circuit", "reset").out
    for _ in range(3):
        circuits.count_fault(connection, "scoring", Fault.DATABASE_FULL, "no space", settings)

    shown = run("status")
    assert "paused: scoring since" in shown.out
    assert "3 faults in a row (database_full): no space" in shown.out
    assert [one["name"] for one in run("status", "--json").document["circuits"]] == ["scoring"]

    assert run("circuit", "reset", "--json").document == {"closed": ["scoring"]}
    assert "paused" not in run("status").out
