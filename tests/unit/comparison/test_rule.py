"""What a window leads to: when nothing, a rollback, a new anchor, the next examinee."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise

import pytest
from compared_windows import hour
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from babylon_tasks.comparison import average
from babylon_tasks.comparison.conclusion import Compared, ComparisonState, Conclusion
from babylon_tasks.comparison.evidence import e_value
from babylon_tasks.comparison.metric import Trial
from babylon_tasks.comparison.observed import ArmResult, ComparedWindow, Stratum
from babylon_tasks.comparison.parameters import (
    ComparisonParameters,
    MetricParameters,
    Proof,
    control_share,
)
from babylon_tasks.comparison.rule import begin, compare, replay, shares

P = ComparisonParameters()
PROVEN = {Conclusion.PROVEN, Conclusion.PROVEN_GAIN}


def seen(
    number: int,
    serving: float = 0.5,
    examinee: float | None = 0.5,
    *,
    n: int = 50,
    variance: float = 0.04,
    guard: float | None = None,
    examinee_name: str = "",
    **fields: object,
) -> ComparedWindow:
    """A window without noise; control has 0.5."""

    def arms(one: float, other: float | None) -> tuple[Stratum]:
        on_trial = None if other is None else ArmResult(n, other, variance)
        control = ArmResult(n, 0.5, variance)
        return (Stratum(ArmResult(8 * n, one, variance), control, on_trial),)

    guarded = () if guard is None else arms(guard, guard)
    return ComparedWindow(
        window=hour(number),
        reward=arms(serving, examinee),
        guard=guarded,
        examinee=examinee_name,
        **fields,
    )


def run(
    windows: Iterable[ComparedWindow],
    parameters: ComparisonParameters = P,
    state: ComparisonState | None = None,
) -> list[Compared]:
    found: list[Compared] = []
    for window in windows:
        state = found[-1].state if found else state or begin(parameters)
        found.append(compare(parameters, state, window))
    return found


def concluded(found: list[Compared]) -> list[Conclusion]:
    return [one.conclusion for one in found if one.conclusion is not Conclusion.KEEP]


@given(st.lists(st.tuples(*[st.floats(-0.3, 1.3)] * 2), min_size=1, max_size=40))
def test_1_the_same_windows_give_the_same(means: list[tuple[float, float]]) -> None:
    windows = [seen(number, *both) for number, both in enumerate(means, start=1)]
    kept = copy.deepcopy(windows)
    first, second = list(replay(P, windows)), list(replay(P, kept))
    assert first == second
    assert windows == kept


def test_a_window_is_taken_once_and_in_order() -> None:
    (first,) = run([seen(5)])
    for number in (4, 5):
        with pytest.raises(ValueError, match="takes each window once, in order"):
            compare(P, first.state, seen(number))


@pytest.mark.parametrize(
    "window",
    [
        seen(9, 0.1, 0.9, n=4),
        replace(seen(9, 0.1, 0.9), reward=()),
        seen(9, 0.1, 0.9, complied=0.89),
    ],
    ids=["few agents", "none", "another model answered"],
)
def test_2_a_window_that_says_nothing_changes_nothing_but_the_clock(window: ComparedWindow) -> None:
    before = run(seen(number, 0.45, 0.52) for number in range(1, 6))[-1].state
    found = compare(P, before, window)
    assert found.state == replace(before, window=hour(9))
    paused = found.conclusion is Conclusion.PAUSE_COMPARISON
    assert paused == (window.complied < 0.9)
    assert found.evidence.reason


def test_2_without_an_examinee_its_trial_stays() -> None:
    before = run(seen(number, examinee=0.52) for number in range(1, 6))[-1].state
    after = compare(P, before, seen(6, examinee=None)).state
    assert (after.reward.trial, after.trial_windows) == (before.reward.trial, 5)
    assert after.reward.harm != before.reward.harm


def test_3_a_windows_own_variances_change_only_what_comes_after_it() -> None:
    before = run(seen(number, 0.45, 0.52) for number in range(1, 6))[-1].state
    calm, wild = (compare(P, before, seen(6, 0.42, 0.55, variance=v)) for v in (0.01, 0.2))
    assert calm.evidence == wild.evidence
    assert calm.state.reward.harm == wild.state.reward.harm
    calm, wild = (compare(P, one.state, seen(7, 0.42, 0.55)) for one in (calm, wild))
    assert calm.state.reward.harm != wild.state.reward.harm


@example([0.25] * 5 + [0.21875] * 2 + [0.5], 0, 1.0)  # the lower one comes to 1e30 at once
@given(st.lists(st.floats(0.2, 0.8), min_size=5, max_size=60), st.integers(0, 59), st.floats(0, 1))
def test_5_a_larger_difference_never_brings_harm_nearer_nor_proof_further(
    means: list[float], place: int, more: float
) -> None:
    raised = [one + more * (number == place) for number, one in enumerate(means)]
    never = ComparisonParameters(run_length=1e30, alpha=1e-30, max_windows=1000)
    low, high = (
        run((seen(i, one, one) for i, one in enumerate(all_, start=1)), never)
        for all_ in (means, raised)
    )
    for lower, higher in zip(low, high, strict=True):
        assert higher.evidence.harm <= lower.evidence.harm
        assert lower.evidence.reward.margin <= higher.evidence.reward.margin
        assert lower.evidence.reward.gain <= higher.evidence.reward.gain
        assert lower.evidence.reward.gain <= lower.evidence.reward.margin
        if {lower.conclusion, higher.conclusion} != {Conclusion.KEEP}:
            break  # what is concluded begins anew, even at 1e30


def test_9_only_an_examinee_becomes_the_anchor_and_none_before_its_time() -> None:
    alone = run(seen(number, 0.9, None) for number in range(1, 200))
    assert concluded(alone) == []
    found = run(seen(number, 0.5, 0.9) for number in range(1, 40))
    assert [n for n, one in enumerate(found, start=1) if one.conclusion in PROVEN] == [12, 24, 36]
    assert all(one.ends_trial for one in found if one.conclusion in PROVEN)


def test_10_after_three_anchors_without_a_gain_only_a_gain_moves_it() -> None:
    equal = run(seen(number) for number in range(1, 400))
    assert concluded(equal)[:5] == [Conclusion.PROVEN] * 3 + [Conclusion.NEXT_EXAMINEE] * 2
    state = equal[-1].state
    assert state.reward.plain == 3
    better = run((seen(400 + number, 0.5, 0.6) for number in range(60)), state=state)
    assert concluded(better)[0] is Conclusion.PROVEN_GAIN
    place = [one.conclusion for one in better].index(Conclusion.PROVEN_GAIN)
    assert better[place].state.reward.plain == 0


def test_11_a_rollback_leaves_the_trial_and_a_new_anchor_begins_anew() -> None:
    found = run(seen(number, 0.2, 0.49) for number in range(1, 12))
    before, fallen = next(
        (one, after) for one, after in pairwise(found) if after.conclusion is Conclusion.ROLLBACK
    )
    assert fallen.evidence.harm >= P.run_length
    assert fallen.state.trial_windows == before.state.trial_windows + 1
    assert fallen.evidence.reward.margin == pytest.approx(evidence_of(fallen.state), rel=1e-12)
    fresh = begin(P).reward
    assert fallen.state.reward.harm == fresh.harm
    proven = run(seen(number, 0.5, 0.9) for number in range(1, 13))[-1]
    assert proven.conclusion is Conclusion.PROVEN_GAIN
    assert replace(proven.state.reward, spread=fresh.spread) == fresh


def evidence_of(state: ComparisonState) -> float:
    return e_value(state.reward.trial.margin)


@pytest.mark.parametrize(("examinee", "ends"), [(0.4, True), (0.6, False)])
def test_a_rollback_ends_the_trial_of_what_it_discards_if_that_is_worse(
    examinee: float, ends: bool
) -> None:
    found = run(seen(n, 0.1, examinee, discards_examinee=True) for n in range(1, 4))
    fallen = next(one for one in found if one.conclusion is Conclusion.ROLLBACK)
    assert fallen.ends_trial is ends
    assert (fallen.state.reward.trial == Trial()) is ends


@pytest.mark.parametrize(("last", "paused"), [(167, True), (168, False)])
def test_12_three_rollbacks_in_a_week_pause(last: int, paused: bool) -> None:
    start = replace(begin(P), rollbacks=(hour(0), hour(100)))
    (fallen,) = run([seen(last, 0.0, None)], state=start)  # half of the scale: one window is enough
    wanted = Conclusion.ROLLBACK_AND_PAUSE if paused else Conclusion.ROLLBACK
    assert fallen.conclusion is wanted


def test_an_examinee_that_is_worse_or_proves_nothing_gives_way_to_the_next() -> None:
    found = run(seen(number, 0.5, 0.4) for number in range(1, 30))
    assert concluded(found)[0] is Conclusion.NEXT_EXAMINEE
    gains_only = ComparisonParameters(reward=MetricParameters(max_plain=0))
    equal = run((seen(number) for number in range(1, 170)), gains_only)
    assert concluded(equal) == [Conclusion.NEXT_EXAMINEE]
    assert equal[167].ends_trial


def test_the_margin_shrinks_with_those_who_got_another_model() -> None:
    """They are in both arms, so a difference looks smaller than it is."""
    all_, most = (
        run(seen(n, 0.5, 0.49, complied=complied) for n in range(1, 10))[-1].evidence.reward
        for complied in (1.0, 0.9)
    )
    assert most.margin < all_.margin
    assert most.gain == all_.gain


def test_windows_that_were_under_way_at_a_rollback_do_not_show_its_harm_again() -> None:
    (fallen,) = run([seen(1, 0.0, None, decided="")])
    assert fallen.conclusion is Conclusion.ROLLBACK
    late = run((seen(n, 0.0, None, decided="") for n in range(2, 9)), state=fallen.state)
    assert concluded(late) == []
    assert late[-1].state == replace(fallen.state, window=hour(8))
    assert "before the conclusion of" in late[-1].evidence.reason
    (again,) = run([seen(9, 0.0, None, decided=hour(1))], state=late[-1].state)
    assert again.conclusion is Conclusion.ROLLBACK


def test_the_evidence_of_one_examinee_counts_for_no_other() -> None:
    first = run(seen(n, 0.5, 0.6, examinee_name="x@3") for n in range(1, 6))[-1].state
    (other,) = run([seen(6, 0.5, 0.6, examinee_name="x@4")], state=first)
    assert other.state.trial_windows == 1
    ended = run(seen(n, 0.5, 0.2, examinee_name="x@3") for n in range(1, 30))
    assert concluded(ended) == [Conclusion.NEXT_EXAMINEE]
    assert ended[-1].state.trial_windows == 0, "its arm is still there, its trial is not"
    (after,) = run([seen(30, 0.5, 0.5, examinee_name="x@5")], state=ended[-1].state)
    assert (after.state.trial_windows, after.state.examinee) == (1, "x@5")


def test_a_guard_that_falls_rolls_back_and_stops_a_proof() -> None:
    guarded = ComparisonParameters(guard=MetricParameters(collapse=None))
    fine = run((seen(number, 0.5, 0.6, guard=0.5) for number in range(1, 60)), guarded)
    assert concluded(fine)[0] in PROVEN
    worse = run((seen(number, 0.6, 0.6, guard=0.4) for number in range(1, 60)), guarded)
    assert Conclusion.ROLLBACK in concluded(worse)
    assert not PROVEN & set(concluded(worse))
    absent = run((seen(number, 0.5, 0.6) for number in range(1, 60)), guarded)
    assert concluded(absent) == []


def test_with_two_models_what_serves_is_proven_by_the_average_of_a_day() -> None:
    parameters = ComparisonParameters(proof=Proof.AVERAGE, examinee_share=0.0)
    better = run((seen(number, 0.55, None) for number in range(1, 100)), parameters)
    assert concluded(better)[0] in PROVEN
    first = next(one for one in better if one.conclusion in PROVEN)
    assert first.evidence.reward.bound is not None
    assert first.evidence.reward.bound >= -P.reward.margin
    assert first.state.reward.average.count == 0
    equal = run((seen(number, 0.49, None) for number in range(1, 100)), parameters)
    assert concluded(equal) == []
    diluted = run([seen(1, 0.49, None, complied=0.9)], parameters)[-1].state.reward.average
    assert average.margin(diluted) == pytest.approx(0.8 * P.reward.margin)


@pytest.mark.parametrize(
    ("serving", "conclusion", "says"),
    [
        (0.55, Conclusion.PROVEN_GAIN, "better than the anchor"),
        (0.52, Conclusion.PROVEN, "not worse than the anchor by 0.02"),
    ],
)
def test_a_proof_by_an_average_names_the_bound_that_proves_it(
    serving: float, conclusion: Conclusion, says: str
) -> None:
    """Without an examinee every e-value is 1."""
    parameters = ComparisonParameters(proof=Proof.AVERAGE, examinee_share=0.0)
    found = run((seen(number, serving, None) for number in range(1, 100)), parameters)
    first = next(one for one in found if one.conclusion in PROVEN)
    assert first.conclusion is conclusion
    shown = f"lower bound of the average difference {first.evidence.reward.bound:+.3g}"
    assert first.evidence.reason == f"{says}: {shown}"


def test_the_arms_have_their_shares_and_small_crowds_larger_ones() -> None:
    assert shares(P, begin(P), examinee=True).examinee == 0.1
    assert shares(P, begin(P), examinee=False).examinee == 0.0
    assert [control_share(one) for one in (50, 500, 5000)] == [0.2, 0.1, 0.05]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"reward": MetricParameters(lower=1, upper=1)}, "lower bound"),
        ({"control_share": 0.5, "examinee_share": 0.5}, "leave no agents"),
        ({"version": 2}, "begin a new one"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(
    fields: dict[str, object], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        ComparisonParameters(**fields)


def test_what_is_worse_by_less_than_the_tolerance_is_never_rolled_back() -> None:
    """Though the tolerance be wider than what the fast detector would call a collapse."""
    parameters = ComparisonParameters(reward=MetricParameters(tolerance=0.1))
    found = run([seen(number, 0.42, None) for number in range(1, 200)], parameters)
    assert concluded(found) == []
    assert found[-1].evidence.harm < P.run_length / 100


def test_an_anchor_that_serves_proves_nothing_of_itself() -> None:
    parameters = ComparisonParameters(proof=Proof.AVERAGE, examinee_share=0.0)
    itself = run([seen(number, 0.5, None, anchored=True) for number in range(1, 100)], parameters)
    assert concluded(itself) == []
    assert itself[-1].state.reward.average.count == 0

    another = run(
        [seen(number, 0.55, None) for number in range(100, 120)], parameters, itself[-1].state
    )
    assert concluded(another)[0] in PROVEN
    assert another[parameters.min_windows - 2].conclusion is Conclusion.KEEP
