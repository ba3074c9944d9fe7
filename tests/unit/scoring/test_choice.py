"""Which scorer scores which archetype, and the errors of one that cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from documents import ROOT, blocks
from evidence import bettor, settings, shown

from babylon_tasks.errors import ScoringFailed, SettingsError
from babylon_tasks.records import Score
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.choice import SCORERS, Scorers, load_scorer
from babylon_tasks.scoring.default import DefaultScorer
from babylon_tasks.scoring.profit import ProfitScorer
from babylon_tasks.scoring.ruler import RulerScorer

MEMBERS = [bettor(2, 0, profit=50.0), bettor(0, 2, profit=50.0)]
_modules = iter(range(1000))


def test_an_archetype_has_its_own_scorer_whatever_its_case_and_others_the_usual_one() -> None:
    scorers = Scorers(
        settings(scorer="profit", archetype_scorers={"Degen": "default", "liar": "outcome"})
    )
    assert isinstance(scorers.scorer_for("DEGEN"), DefaultScorer)
    assert isinstance(scorers.scorer_for(" degen "), DefaultScorer)
    assert scorers.scorer_for("liar").name == "outcome"
    assert isinstance(scorers.scorer_for("trader"), ProfitScorer)
    assert isinstance(scorers.scorer_for(None), ProfitScorer)


@pytest.mark.parametrize("named", [{}, {"degen": "default"}], ids=["the usual scorer", "its own"])
def test_an_archetype_has_its_own_weights(named: dict[str, str]) -> None:
    scorers = Scorers(
        settings(
            reward_weights={"decisions": 1},
            archetype_weights={"degen": {"profit": 1}},
            archetype_scorers=named,
        )
    )
    [right, wrong] = scorers.scorer_for("trader").rewards(MEMBERS, MEMBERS)
    assert right is not None
    assert wrong is not None
    assert right.reward > wrong.reward
    [one, other] = scorers.scorer_for("degen").rewards(MEMBERS, MEMBERS)
    assert one is not None
    assert other is not None
    assert one.reward == other.reward == 0.5  # they earned the same


def test_an_archetype_s_scorer_that_there_is_not_is_refused_before_anything_is_scored() -> None:
    with pytest.raises(SettingsError, match=r"vibes, .* BABYLON_ARCHETYPE_SCORERS, .* default"):
        Scorers(settings(archetype_scorers={"degen": "vibes"}))


def test_whether_a_judge_is_needed_is_known() -> None:
    assert not Scorers(settings()).needs_judge
    judged = {"ruler_model": "openai/o3"}
    assert Scorers(settings(scorer="ruler", **judged)).needs_judge
    assert Scorers(settings(archetype_scorers={"liar": "ruler"}, **judged)).needs_judge


def test_a_judge_and_its_rubric_are_part_of_the_version() -> None:
    versions = {
        load_scorer(settings(scorer="ruler", ruler_model=model, ruler_rubric=rubric)).version
        for model in ("openai/o3", "openai/gpt-4o-mini")
        for rubric in (None, "Reward courage.", "Reward caution.")
    }
    assert len(versions) == 6


def test_in_a_dry_run_all_are_graded_alike() -> None:
    scorer = load_scorer(settings(scorer="ruler", ruler_model="openai/o3"))
    found = scorer.rewards([shown(), *MEMBERS], MEMBERS)
    assert [score.reward for score in found if score is not None] == [0.5, 0.5, 0.5]


def test_a_grade_is_the_reward_and_the_evidence_is_stored_beside_it() -> None:
    scorer = RulerScorer(settings(scorer="ruler", ruler_model="openai/o3"))
    score = scorer.score(MEMBERS[0], 0.2)
    assert score.reward == 0.2
    assert score.components["ruler"] == 0.2
    assert score.components["right"] == 2
    assert score.components["profit"] == 50.0


# --- the operator's own


GOOD = """
    from babylon_tasks.records import Score

    class Mine:
        name = "mine"
        version = "3"

        def __init__(self, settings):
            self.scale = settings.profit_scale

        def rewards(self, members, reference):
            return [Score(0.25, {"seen": float(len(reference))}) for _ in members]
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scorer]:
    """``written(code)``: the scorer ``MODULE:Mine`` of a module that holds this code."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(code: str, path: str = "{module}:Mine", **values: Any) -> Scorer:
        module = f"written_{next(_modules)}"
        (tmp_path / f"{module}.py").write_text(dedent(code))
        return load_scorer(settings(scorer=path.format(module=module), **values))

    return load


def test_a_class_of_the_operator_s_own_scores(written: Callable[..., Scorer]) -> None:
    scorer = written(GOOD)
    assert (scorer.name, scorer.version) == ("mine", "3")
    assert scorer.rewards(MEMBERS, MEMBERS) == [Score(0.25, {"seen": 2.0})] * 2


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nowhere_to_be_found", r"cannot be imported \(ModuleNotFoundError: .*PYTHONPATH"),
        ("def broken(:", r"cannot be imported \(SyntaxError"),
        ("1 / 0", r"cannot be imported \(ZeroDivisionError"),
        ("class Other: pass", "has no Mine"),
        ("def Mine(settings): ...", "is not a class"),
        (GOOD.replace("name =", "title ="), "has no name"),
        (GOOD.replace('"mine"', '" "'), "has no name"),
        (GOOD.replace('"3"', "3"), "has no version, which must be a string"),
        (GOOD.replace('"mine"', '"default"'), "has the name default"),
        (GOOD.replace('"mine"', '"ruler"'), "has the name ruler"),
        (GOOD.replace("def rewards", "def score"), r"no method rewards\(members, reference\)"),
        (GOOD.replace("members, reference", "members"), "does not take members"),
        (GOOD.replace("self, settings", "self"), "cannot be created from the settings alone"),
        (GOOD.replace("self, settings", "self, settings, more"), "from the settings alone"),
        (GOOD.replace("profit_scale", "profit_skale"), "cannot be created: AttributeError"),
    ],
)
def test_what_is_no_scorer_is_refused_by_name(
    written: Callable[..., Scorer], code: str, why: str
) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        written(code)
    assert "scorer written_" in str(refused.value)


def test_a_module_that_there_is_not_is_refused_with_where_it_is_looked_for() -> None:
    with pytest.raises(SettingsError, match=r"module nowhere\.at cannot be imported .*PYTHONPATH"):
        load_scorer(settings(scorer="nowhere.at:All"))


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ("[Score(1.5, {})] * 2", r"gave trajectory 1 of a group of 2 the reward 1\.5"),
        ("[Score(0.5, {}), Score(-0.1, {})]", r"gave trajectory 2 .* the reward -0\.1"),
        ("[Score(float('nan'), {})] * 2", "the reward nan"),
        ("[Score(True, {})] * 2", "the reward True"),
        ("[Score('0.5', {})] * 2", "the reward '0.5'"),
        ("[Score(0.5, {'x': float('inf')})] * 2", "a component 'x' of inf"),
        ("[Score(0.5, {1: 0.5})] * 2", "a component 1"),
        ("[Score(0.5, None)] * 2", "components that are not a dict"),
        ("[0.5, 0.5]", "a float, neither a Score nor None"),
        ("[Score(0.5, {})]", "returned 1 scores for 2 trajectories"),
        ("[Score(0.5, {})] * 3", "returned 3 scores for 2 trajectories"),
        ("None", "raised TypeError"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_scorer_must_not_return_is_a_failure_that_names_it(
    written: Callable[..., Scorer], returned: str, why: str
) -> None:
    code = GOOD.replace('[Score(0.25, {"seen": float(len(reference))}) for _ in members]', returned)
    scorer = written(code)
    with pytest.raises(ScoringFailed, match=why) as failed:
        scorer.rewards(MEMBERS, MEMBERS)
    assert ":Mine " in str(failed.value)


def test_what_a_scorer_raises_is_masked_before_it_is_cut(written: Callable[..., Scorer]) -> None:
    key = "key-of-the-judge-7f3a"
    raises = f'raise RuntimeError("x" * 275 + " {key}")'
    scorer = written(GOOD.replace("return [", f"{raises}; return ["), ruler_api_key=key)
    with pytest.raises(ScoringFailed) as failed:
        scorer.rewards(MEMBERS, MEMBERS)
    assert f"{'x' * 275} ***" in str(failed.value)
    assert key[:4] not in str(failed.value)


def test_none_means_no_evidence(written: Callable[..., Scorer]) -> None:
    code = GOOD.replace('Score(0.25, {"seen": float(len(reference))})', "None")
    assert written(code).rewards(MEMBERS, MEMBERS) == [None, None]


def test_the_example_of_the_documents_is_a_scorer(written: Callable[..., Scorer]) -> None:
    (example,) = (b for b in blocks(ROOT / "docs/scorers.md") if b.language == "python")
    scorer = written(example.text, "{module}:Patience")
    quick, slow = bettor(2, 2), shown(right=1, waited=3, taken=1, merit=1.0)
    [one, other, nobody] = scorer.rewards([quick, slow, shown()], [quick, slow])
    assert one is not None
    assert other is not None
    assert other.reward > one.reward
    assert other.components == {"right": 1.0, "wrong": 0.0}
    assert nobody is None


def test_the_documents_name_every_scorer() -> None:
    text = (ROOT / "docs/scorers.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in SCORERS)
