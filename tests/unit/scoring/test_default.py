"""50 % profit, 30 % win rate, 20 % activity, on what is known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.errors import SettingsError
from babylon_tasks.records import Decision, Outcome, Outcomes, Rejection, Score, Trajectory
from babylon_tasks.scoring.base import load_scorer
from babylon_tasks.settings import Settings

NOTHING = Outcomes({}, {})
POST = Decision("CREATE_POST", True)
HOLD = Decision("HOLD", True, "m-1", None, "YES")


def settings(**values: Any) -> Settings:
    return Settings(
        _env_file=None,
        **{
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "WANDB_API_KEY": None,
            "data_dir": Path("unused"),
            "profit_scale": 1000,
            **values,
        },
    )


def trajectory(
    decisions: Iterable[Decision] = (),
    first: float | None = None,
    last: float | None = None,
    final: float | None = None,
) -> Trajectory:
    return Trajectory("t-1", "agent-1", None, first, last, final, tuple(decisions), ())


def scored(recorded: Trajectory, outcomes: Outcomes = NOTHING, **values: Any) -> Score | Rejection:
    return load_scorer(settings(**values)).score(recorded, outcomes)


def components(recorded: Trajectory, outcomes: Outcomes = NOTHING) -> dict[str, float]:
    found = scored(recorded, outcomes)
    assert isinstance(found, Score), found
    return found.components


def reward(recorded: Trajectory, outcomes: Outcomes = NOTHING) -> float:
    found = scored(recorded, outcomes)
    assert isinstance(found, Score), found
    return found.reward


def buy(side: str = "YES", market: str = "m-1", correct: bool | None = None) -> Decision:
    return Decision("BUY_SHARES", True, market, None, side, correct)


def test_all_three_components_are_blended_by_their_weights() -> None:
    recorded = trajectory([buy(correct=True), buy(correct=False)], first=100, final=600)
    assert components(recorded) == {"profit": 0.75, "win_rate": 0.5, "activity": 0.1}
    assert reward(recorded) == pytest.approx(0.5 * 0.75 + 0.3 * 0.5 + 0.2 * 0.1)


def test_a_component_without_evidence_leaves_its_weight_to_the_others() -> None:
    recorded = trajectory([POST], first=0, final=500)
    assert components(recorded) == {"profit": 0.75, "activity": 0.05}
    assert reward(recorded) == pytest.approx((0.5 * 0.75 + 0.2 * 0.05) / 0.7)


def test_activity_alone_is_evidence() -> None:
    assert reward(trajectory([POST] * 5)) == pytest.approx(0.25)


def test_activity_saturates_at_twenty_actions() -> None:
    assert components(trajectory([POST] * 20))["activity"] == 1.0
    assert components(trajectory([POST] * 99))["activity"] == 1.0


def test_idleness_counts_beside_other_evidence_but_is_none_by_itself() -> None:
    assert components(trajectory([HOLD], first=0, final=0)) == {"profit": 0.5, "activity": 0.0}
    found = scored(trajectory([HOLD, Decision("BUY_SHARES", False, "m-1", None, "YES")]))
    assert isinstance(found, Rejection)
    assert (found.stage, found.reason) == ("score", "no_evidence")


@pytest.mark.parametrize(
    ("first", "last", "final", "expected"),
    [
        (500.0, 700.0, 1000.0, 0.75),  # what was recorded at the end wins
        (500.0, 700.0, None, 0.6),  # else the last step's
        (500.0, None, 500.0, 0.5),  # a rich agent that earned nothing earned nothing
        (0.0, None, -5000.0, 0.0),
        (0.0, None, 5000.0, 1.0),
        (-1e308, None, 1e308, 1.0),
    ],
)
def test_profit_is_the_end_minus_the_beginning(
    first: float, last: float | None, final: float | None, expected: float
) -> None:
    assert components(trajectory((), first, last, final))["profit"] == pytest.approx(expected)


def test_one_step_without_a_final_pnl_has_no_known_profit() -> None:
    assert "profit" not in components(trajectory([POST], first=500))


def test_a_final_pnl_without_a_beginning_is_no_known_profit() -> None:
    assert "profit" not in components(trajectory([POST], final=500))


def test_a_recorded_correctness_wins_over_the_outcome() -> None:
    outcomes = Outcomes({"m-1": Outcome(yes=True)}, {})
    assert components(trajectory([buy("YES", correct=False)]), outcomes)["win_rate"] == 0.0


def test_outcomes_are_joined_by_market_or_ticker() -> None:
    outcomes = Outcomes({"m-1": Outcome(yes=False)}, {"ACME": Outcome(change=-2.0)})
    short = Decision("OPEN_PERP_POSITION", True, None, "ACME", "short")
    assert components(trajectory([buy("NO"), short]), outcomes)["win_rate"] == 1.0
    assert components(trajectory([buy("YES"), short]), outcomes)["win_rate"] == 0.5


def test_selling_is_the_opposite_of_buying() -> None:
    outcomes = Outcomes({"m-1": Outcome(yes=True)}, {})
    sale = Decision("SELL_SHARES", True, "m-1", None, "YES")
    assert components(trajectory([sale]), outcomes)["win_rate"] == 0.0


@pytest.mark.parametrize(
    "decision",
    [
        HOLD,
        Decision("BUY_SHARES", False, "m-1", None, "YES", True),
        Decision("BUY_SHARES", True, "m-unresolved", None, "YES"),
        Decision("BUY_SHARES", True, None, "FLAT", "YES"),
        Decision("CREATE_POST", True, "m-1", None, "YES", True),
    ],
    ids=["a hold", "a failed trade", "an open market", "an unmoved price", "a post"],
)
def test_what_is_neither_won_nor_lost_has_no_win_rate(decision: Decision) -> None:
    outcomes = Outcomes({"m-1": Outcome(yes=True)}, {"FLAT": Outcome(change=0.0)})
    assert "win_rate" not in components(trajectory([decision, POST]), outcomes)


_DECISIONS = st.lists(
    st.builds(
        Decision,
        action_type=st.sampled_from(["BUY_SHARES", "SELL_SHARES", "HOLD", "CREATE_POST"]),
        success=st.booleans(),
        market_id=st.sampled_from([None, "m-1", "m-2"]),
        side=st.sampled_from([None, "YES", "NO"]),
        correct=st.sampled_from([None, True, False]),
    ),
    max_size=40,
)
_PNL = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(_DECISIONS, _PNL, _PNL, _PNL)
def test_every_reward_lies_between_nothing_and_one(
    decisions: list[Decision], first: float | None, last: float | None, final: float | None
) -> None:
    found = scored(trajectory(decisions, first, last, final), Outcomes({"m-1": Outcome(True)}, {}))
    if isinstance(found, Score):
        assert 0 <= found.reward <= 1
        assert found.components


def test_another_scorer_is_chosen_by_name() -> None:
    found = scored(trajectory([POST], first=0, final=500), scorer="profit")
    assert found == Score(0.75, {"profit": 0.75})
    found = scored(trajectory([POST] * 20), scorer="profit")
    assert isinstance(found, Rejection)
    assert found.reason == "no_evidence"


def test_an_unknown_scorer_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"BABYLON_SCORER=vibes .* default, profit"):
        load_scorer(settings(scorer="vibes"))
