"""What may stand in the settings that say what is rewarded, and how a fault in them is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings, checked, given


@pytest.fixture(autouse=True)
def _only_a_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")


def read(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> Settings:
    monkeypatch.setenv(name, value)
    return checked()


def test_the_weights_of_the_first_system_are_the_default() -> None:
    assert checked().reward_weights == {"profit": 0.5, "decisions": 0.3, "activity": 0.2}


def test_what_is_not_named_weighs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, "BABYLON_REWARD_WEIGHTS", '{"decisions": 2}')
    assert found.reward_weights == {"profit": 0, "decisions": 2, "activity": 0}


@pytest.mark.parametrize("setting", ["BABYLON_REWARD_WEIGHTS"])
@pytest.mark.parametrize(
    ("weights", "fault"),
    [
        ('{"porfit": 1}', "porfit is no component; those are profit, decisions, activity"),
        ('{"profit": -1}', r"profit: Input should be greater than or equal to 0"),
        ('{"profit": NaN}', r"profit: Input should be a finite number"),
        ('{"profit": "much"}', r"profit: Input should be a valid number"),
        ('{"profit": 1, "profit": 2}', "says one name twice"),
        ('{"profit": 0, "decisions": 0}', "profit or decisions must weigh something"),
        ('{"activity": 1}', "activity only breaks ties"),
        ("{}", "profit or decisions must weigh something"),
        ("[1]", "valid dictionary"),
        ("{'profit': 1}", "names in double quotes"),
    ],
)
def test_weights_that_say_nothing_or_the_wrong_thing_are_refused(
    monkeypatch: pytest.MonkeyPatch, setting: str, weights: str, fault: str
) -> None:
    with pytest.raises(SettingsError, match=fault) as refused:
        read(monkeypatch, setting, weights)
    assert setting.removeprefix("BABYLON_").lower() in str(refused.value)


@pytest.mark.parametrize("scorer", ["vibes!", "Default", "rewards:", ":Patience", "a:b:c", "a.:C"])
def test_a_scorer_is_a_name_or_a_class_in_a_module(
    monkeypatch: pytest.MonkeyPatch, scorer: str
) -> None:
    with pytest.raises(SettingsError, match="neither a scorer's name nor module:Class"):
        read(monkeypatch, "BABYLON_SCORER", scorer)


def test_what_is_set_can_be_listed_though_it_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BABYLON_REWARD_WEIGHTS", "no JSON")
    assert given()["BABYLON_REWARD_WEIGHTS"] == "no JSON"
