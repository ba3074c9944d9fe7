"""Each alert fires on the fault that it is for, and none in a quiet hour: promtool says so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from faults_of_alerts import ANSWERED_BY_OTHERS, FAULTS, SCORING_STOPS_TOO, WANTED
from prometheus import program
from recorded_series import MINUTES, replayed

from checks.alerts import RULES, asked, rules

pytestmark = pytest.mark.contract(None)
ALERTS = {rule["alert"]: rule for rule in rules(RULES.read_text("utf-8"))}
FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'


def checked(*arguments: str | Path) -> str:
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout


def tried(
    name: str, changes: dict[str, Any], minutes: int, expected: dict[int, set[str]]
) -> dict[str, Any]:
    """One of promtool's tests: which alerts fire, by minutes after the run."""
    names = {one for rule in ALERTS.values() for one in asked(rule["expr"])}
    return {
        "name": name,
        "interval": "1m",
        "input_series": [
            {"series": series, "values": values}
            for series, values in replayed(changes, minutes + 1, names)
        ],
        "promql_expr_test": [
            {
                "expr": FIRING,
                "eval_time": f"{MINUTES + at}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(firing)
                ],
            }
            for at, firing in expected.items()
        ],
    }


def test_the_rules_can_be_read() -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked("check", "rules", RULES)


def test_each_alert_has_its_fault() -> None:
    assert set(FAULTS) == set(ALERTS)


def test_none_fires_while_it_learns_nor_in_a_quiet_hour(tmp_path: Path) -> None:
    none: dict[int, set[str]] = {at: set() for at in range(-MINUTES, 3 * 60, 2)}
    ask(tmp_path, "1m", [tried("quiet", {}, 3 * 60, none)])


def test_each_fires_on_its_fault_and_no_other_with_it(tmp_path: Path) -> None:
    tests = [
        tried(
            alert,
            dict(fault.changes),
            fault.minutes,
            {-1: set(), fault.minutes: {alert, *fault.also}},
        )
        for alert, fault in FAULTS.items()
    ]
    ask(tmp_path, "5m", tests)


def test_while_training_is_not_to_go_on_its_backlog_is_no_fault(tmp_path: Path) -> None:
    backlog = {"BabylonBacklogOld", "BabylonBacklogVeryOld"}
    tests = []
    for alert, fault in WANTED.items():
        for also, changes in ((set(), {}), (backlog, SCORING_STOPS_TOO)):
            expected = {-1: set(), fault.minutes: {alert} | also}
            tests.append(tried(alert, {**fault.changes, **changes}, fault.minutes, expected))
    ask(tmp_path, "5m", tests)


def test_what_another_model_was_meant_to_answer_is_no_fault(tmp_path: Path) -> None:
    silent: dict[int, set[str]] = {at: set() for at in range(-1, 5 * 60, 10)}
    tests = [tried(name, changes, 5 * 60, silent) for name, changes in ANSWERED_BY_OTHERS.items()]
    ask(tmp_path, "5m", tests)


def ask(folder: Path, interval: str, tests: list[dict[str, Any]]) -> None:
    """Let promtool evaluate the rules."""
    file = folder / "tests.yaml"
    text = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": tests}
    file.write_text(json.dumps(text), "utf-8")
    checked("test", "rules", file)
