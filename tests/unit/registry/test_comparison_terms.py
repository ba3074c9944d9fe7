"""A comparison begins on the settings' terms, or it is said why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from pydantic import ValidationError

from babylon_tasks.comparison.agents import AskingAgents
from babylon_tasks.comparison.parameters import ComparisonParameters, Proof
from babylon_tasks.registry.comparison_terms import impediment, terms, too_few
from babylon_tasks.settings import Settings

DATABASE = "postgresql://babylon@127.0.0.1:5432/babylon"
UPSTREAMS = {"groq": {"base_url": "https://groq.test/v1", "models": ["qwen/*"]}}
ENOUGH = AskingAgents("2026-01-31T09:00", 100, 100, 400, 0, 0)


def settings(**values: Any) -> Settings:
    return Settings(DATABASE_URL=DATABASE, WANDB_API_KEY=None, **values)


ALIKE = [[0.03] * 6 + [-0.03] * 6] * 10  # trials whose hours lean one way for a quarter of a day


def test_hours_that_are_alike_are_taken_as_one_where_no_setting_says_how_many() -> None:
    assert terms(settings(), 500, ALIKE, external=False).block == 12
    assert terms(settings(), 500, [[0.3, -0.2, 0.1, -0.3] * 20], external=False).block == 1


def test_without_settings_the_terms_are_those_of_the_rule_with_a_guard() -> None:
    found = terms(settings(), 500, [], external=False)
    assert structs.replace(found, guard=None) == ComparisonParameters()
    assert found.guard is not None


def test_each_setting_is_in_the_row() -> None:
    found = terms(
        settings(
            comparison_proof="average",
            comparison_margin=0.03,
            comparison_tolerance=0.02,
            comparison_alpha=0.01,
            comparison_run_length=720,
            comparison_block=4,
            comparison_reward_lower=0.2,
            comparison_reward_upper=0.8,
            comparison_guard=False,
            ramp_budget=0.5,
        ),
        50,
        ALIKE,
        external=True,
    )
    assert (found.proof, found.alpha, found.run_length) == (Proof.AVERAGE, 0.01, 720)
    assert found.block == 4
    reward = found.reward
    assert (reward.margin, reward.tolerance) == (0.03, 0.02)
    assert (reward.lower, reward.upper, found.guard) == (0.2, 0.8, None)
    assert found.ramp is not None
    assert found.ramp.budget == 0.5
    assert found.ramp.shares == (0.1, 0.2, 0.5, 0.9)  # 5 of 50 agents at the floor


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"anchor_model": "gpt-oss"}, "BABYLON_ANCHOR_MODEL is a model that no server"),
        ({"comparison_reward_lower": 1.0}, "must be below BABYLON_COMPARISON_REWARD_UPPER"),
        (
            {"promotion_mode": "proven", "comparison_proof": "average"},
            "BABYLON_PROMOTION_MODE=proven needs BABYLON_COMPARISON_PROOF=examinee",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(gateway_upstreams=UPSTREAMS, **values)


def test_an_anchor_may_be_any_model_that_a_pattern_lists() -> None:
    found = settings(gateway_upstreams=UPSTREAMS, anchor_model="qwen/qwen3-32b")
    assert found.anchor_model == "qwen/qwen3-32b"


@pytest.mark.parametrize(("agents", "enough"), [(24, False), (25, True), (99, True), (500, True)])
def test_an_arm_needs_five_agents(agents: int, enough: bool) -> None:
    assert (too_few(agents) is None) is enough


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"window": None, "rewarded": 0, "asking": 0, "calls": 0}, "no hour has rewards"),
        ({"asking": 0, "calls": 0}, "captured no call"),
        ({"asking": 0, "unnamed": 400}, "without their names"),
        ({"asking": 0, "elsewhere": 400}, "other models by name"),
        ({"asking": 24}, "too few for an arm"),
        ({"asking": 60}, "only 60 of 100"),
    ],
)
def test_why_nothing_can_be_compared_is_said(change: dict[str, Any], why: str) -> None:
    found = impediment(settings(), structs.replace(ENOUGH, **change))
    assert found is not None
    assert why in found.text


def test_nothing_is_in_the_way_of_enough_agents() -> None:
    assert impediment(settings(), ENOUGH) is None
    off = impediment(settings(compare=False), ENOUGH)
    assert off is not None
    assert "BABYLON_COMPARE=false" in off.text
