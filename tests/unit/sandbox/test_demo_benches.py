"""What the benches of the demo play, and what they make of its reports; nothing is played here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from babylon_tasks.sandbox.demo_report import DemoReport, Interval, ModelComparison, Reversal, Share
from bench import learning
from bench.demos import DemoRun, play


def run(seed: int = 0, right: float = 1.0, decisions: str = "", halved: str = "") -> DemoRun:
    """A run; ``decisions`` has p, h or - for each window, ``halved`` how often the rate was."""
    words = {"p": "promote", "h": "hold", "-": None}
    windows = [
        {"decision": words[one], "rate_halved": int(times), "right": right}
        for one, times in zip(decisions, halved or "0" * len(decisions), strict=True)
    ]
    shares = Share(400, 1.0, right)
    again = Reversal("w", 0.9, 0.1, 0.8, 42)
    evaluation = ModelComparison(shares, shares, Interval(0.1, 0.2), shares)
    report = msgspec.to_builtins(DemoReport([], evaluation, 1.0, {}, again))
    return DemoRun(seed, **(report | {"windows": windows}))


@pytest.mark.parametrize(
    ("decisions", "halved", "most"),
    [
        ("", "", 0),
        ("phhhhhp", "0000000", 5),
        ("phhhhhhp", "00000000", 6),
        ("phhhhhhhhhp", "00000111110"[:11], 5),
        ("hh--hh-hh", "000000000", 6),
        ("hhhphhh", "0000000", 3),
    ],
)
def test_what_stands_behind_its_gate_without_a_change_is_counted(
    decisions: str, halved: str, most: int
) -> None:
    found = run(decisions=decisions, halved=halved)

    assert found.most_unchanged_in_a_row == most
    assert (found.stuck is not None) == (most > 5)


def test_a_seed_that_stood_too_long_is_named() -> None:
    assert "seed 7 stood 6 windows" in str(run(7, decisions="h" * 6).stuck)


def test_a_bench_plays_every_case_on_every_seed_and_only_what_it_is_asked_for() -> None:
    names = [case.name for case in learning.CASES]
    assert names == ["defaults", "no-kl", "no-schedule", "stale", "flipped", "reversal"]
    played = [(seed, case.name) for seed, case in learning.runs_of([3, 4], [])]
    assert played == [(seed, name) for seed in (3, 4) for name in names]
    only = learning.runs_of([3], ["no-kl"])
    assert [(seed, case.name) for seed, case in only] == [(3, "no-kl")]


def test_each_case_changes_what_its_name_says_and_asks_in_unseen_phrasings() -> None:
    found = {case.name: case.variation_of(4) for case in learning.CASES}

    assert all(one.unseen_phrasings for one in found.values())
    assert {name: one.reverse_at for name, one in found.items() if one.reverse_at} == {
        "reversal": 3
    }
    assert {name: one.flipped for name, one in found.items() if one.flipped} == {"flipped": 0.3}
    assert {name: one.stale for name, one in found.items() if one.stale} == {"stale": 0.5}
    options = {name: one.options for name, one in found.items() if one.options}
    assert options["no-kl"] == {"BABYLON_KL_COEFFICIENT": "0"}
    assert options["no-schedule"]["BABYLON_FINAL_LEARNING_RATE"] == "1e-3"
    assert set(options) == {"no-kl", "no-schedule"}


def test_a_run_that_is_there_is_read_and_not_played_again(tmp_path: Path) -> None:
    kept: dict[str, Any] = {"windows": [], "evaluation": {}, "seconds": 1.0, "phases": {}}
    (tmp_path / "defaults-3-4.json").write_text(json.dumps(kept))

    assert play(3, 4, tmp_path, name="defaults") == DemoRun(3, **kept)


def test_the_table_compares_each_case_with_the_defaults_of_its_seeds() -> None:
    found = {
        "defaults": {0: run(right=0.9), 1: run(1, right=0.8)},
        "no-kl": {0: run(right=0.5), 1: run(1, right=0.4)},
        "stale": {1: run(1, right=0.9)},
    }
    lines = learning.table(found)

    assert lines[2].startswith("| defaults | 2 | 1.000 | 0.850 |  |  | 0.850 | 0 | 42, 42 |")
    assert "| -0.400 ± 0.000 | worse |" in lines[3]
    assert "| +0.100 | cannot tell |" in lines[4]


def test_the_curve_has_the_share_of_right_decisions_by_window() -> None:
    lines = learning.curve(run(right=0.5, decisions="-" * 7))

    assert [line.split()[:4] for line in lines] == [
        ["1", "to", "5", "50%"],
        ["6", "to", "7", "50%"],
    ]
