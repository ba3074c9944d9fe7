"""Alert rules ask for what there is, name the runbook, and leave out no gauge without a reason."""

from __future__ import annotations

import pytest

from checks.alerts import RULE_OBJECT, RULES, rules, violations

TEXT = RULES.read_text("utf-8")


def test_the_rules_are_as_they_should_be() -> None:
    assert violations(TEXT) == []
    assert len(rules(TEXT)) > 30


@pytest.mark.parametrize(
    ("said", "instead", "where", "what"),
    [
        ("babylon_ready == 0", "babylon_redy == 0", "BabylonNotReady", "no metric babylon_redy"),
        ("{source=", "{sauce=", "BabylonPostgresAway", "no label sauce"),
        ("severity: critical", "severity: grave", "BabylonBeatMissing", "needs a severity"),
        ("#babylonnotready", "#babylonready", "BabylonNotReady", "babylonready is not there"),
        ('summary: "no beat', 'comment: "no beat', "BabylonBeatMissing", "needs a summary"),
        ("alert: BabylonDiskFull", "alert: BabylonNotReady", "BabylonNotReady", "two alerts"),
        ("babylon_tripped_windows >", "babylon_head_step >", "babylon_tripped_windows", "no alert"),
        ("babylon_tripped_windows >", "babylon_head_step >", "babylon_head_step", "WITHOUT_ALERT"),
    ],
)
def test_what_is_wrong_is_found(said: str, instead: str, where: str, what: str) -> None:
    assert said in TEXT
    found = violations(TEXT.replace(said, instead))
    assert [one for one in found if one.where == where and what in one.what], found
    assert [one for one in found if one.where == RULE_OBJECT.name], "the object is another one"
