"""Valid values of the settings of rewards, and the errors for invalid ones."""

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


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (
            '{"porfit": 1}',
            "porfit is not a component; the components are profit, decisions, activity",
        ),
        ('{"profit": -1}', r"profit must be at least 0"),
        ('{"profit": NaN}', r"profit must be a finite number"),
        ('{"profit": "much"}', r"profit must be a number"),
        ('{"profit": 1, "profit": 2}', "a name occurs twice"),
        ('{"profit": 0, "decisions": 0}', "profit or decisions must weigh something"),
        ('{"activity": 1}', "activity only breaks ties"),
        ("{}", "profit or decisions must weigh something"),
        ("[1]", "must be a JSON object"),
        ("{'profit': 1}", "names in double quotes"),
    ],
)
def test_weights_that_say_nothing_or_the_wrong_thing_are_refused(
    monkeypatch: pytest.MonkeyPatch, weights: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=f"BABYLON_REWARD_WEIGHTS.*{problem}"):
        read(monkeypatch, "BABYLON_REWARD_WEIGHTS", weights)


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


def test_archetypes_are_named_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABYLON_ARCHETYPE_WEIGHTS", '{" Degen": {"profit": 1}}')
    found = read(monkeypatch, "BABYLON_ARCHETYPE_SCORERS", '{"LIAR": "house.rewards:Charm"}')
    assert found.archetype_weights == {"degen": {"profit": 1, "decisions": 0, "activity": 0}}
    assert found.archetype_scorers == {"liar": "house.rewards:Charm"}


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        (
            "BABYLON_ARCHETYPE_WEIGHTS",
            '{"degen": {"porfit": 1}}',
            "degen.* porfit is not a component",
        ),
        ("BABYLON_ARCHETYPE_WEIGHTS", '{"degen": {"activity": 1}}', "only breaks ties"),
        ("BABYLON_ARCHETYPE_WEIGHTS", '{"degen": 1}', "degen.* must be a JSON object"),
        (
            "BABYLON_ARCHETYPE_WEIGHTS",
            '{"a": {"profit": 1}, "A": {"profit": 2}}',
            "a name occurs twice",
        ),
        ("BABYLON_ARCHETYPE_WEIGHTS", '{"": {"profit": 1}}', "has no name"),
        ("BABYLON_ARCHETYPE_SCORERS", '{"degen": "Very Own"}', "neither a scorer's name"),
        ("BABYLON_ARCHETYPE_SCORERS", '{"degen": "ruler"}', "needs BABYLON_RULER_MODEL"),
        ("BABYLON_SCORER", "ruler", "needs BABYLON_RULER_MODEL"),
        ("BABYLON_RULER_BASE_URL", "http://user:planted@judge/v1", "must look like"),
        ("BABYLON_RULER_CALL_SIZE", "3", "at least 4"),
        ("BABYLON_RULER_MIN_AGREEMENT", "1.1", "at most 1"),
    ],
)
def test_invalid_settings_of_archetypes_and_the_judge_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as refused:
        read(monkeypatch, setting, value)
    assert "planted" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BABYLON_ARCHETYPE_WEIGHTS", '{"degen": {"profit": 1}}'),
        ("BABYLON_ARCHETYPE_SCORERS", '{"degen": "profit"}'),
    ],
)
def test_settings_by_archetype_need_groups_of_one_archetype(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv("BABYLON_GROUP_BY", "scenario,market")
    with pytest.raises(SettingsError, match="add archetype to BABYLON_GROUP_BY"):
        read(monkeypatch, setting, value)


def test_the_judge_s_key_is_printed_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, "BABYLON_RULER_API_KEY", "planted-key")
    assert "planted" not in f"{found!r} {found}"
