"""The ratios of a step: what they are by plain arithmetic, and where a step is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from babylon_tasks.errors import TrainingError
from babylon_tasks.step_metrics import (
    CLIPPED_SHARE,
    LARGEST_MISMATCH_KL,
    MISMATCH_KL,
    RATIO_MAX,
    RATIO_MEAN,
    SAMPLE_SHARE,
)
from babylon_tasks.training.importance_ratios import StepRatios, clip_range, compare
from babylon_tasks.training.step_figures import FIGURES, under_one_name

torch = pytest.importorskip("torch")
NAN = math.nan


def figures(current: list[float], recorded: list[float]) -> dict[str, float]:
    return compare(torch.tensor(current), torch.tensor(recorded), 0.0, 5.0).metrics()


def test_an_unchanged_policy_has_ratio_1_and_every_token_counts() -> None:
    logprobs = [-0.1, -2.0, -7.5, -0.4]

    assert figures(logprobs, logprobs) == {
        RATIO_MEAN: 1.0,
        RATIO_MAX: 1.0,
        CLIPPED_SHARE: 0.0,
        MISMATCH_KL: 0.0,
        SAMPLE_SHARE: 1.0,
    }


def test_the_figures_are_those_of_plain_arithmetic() -> None:
    current, recorded = [-0.5, -1.0, -3.0, -0.25], [-1.0, -1.0, -0.5, -4.25]
    ratios = [math.exp(c - r) for c, r in zip(current, recorded, strict=True)]

    found = figures(current, recorded)

    assert found[RATIO_MEAN] == pytest.approx(sum(ratios) / 4)
    assert found[RATIO_MAX] == pytest.approx(math.exp(4))
    assert found[CLIPPED_SHARE] == 1 / 4  # only e^4 is beyond 5
    assert found[MISMATCH_KL] == pytest.approx(sum(r - 1 - math.log(r) for r in ratios) / 4)
    squares = sum(r * r for r in ratios)
    assert found[SAMPLE_SHARE] == pytest.approx(sum(ratios) ** 2 / squares / 4)


def test_the_estimate_is_the_divergence_of_the_new_policy_from_the_old_one() -> None:
    old, new = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]
    divergence = sum(p * math.log(p / q) for p, q in zip(old, new, strict=True))
    sampled = [word for word, share in enumerate(old) for _ in range(round(share * 10))]

    found = figures(
        [math.log(new[word]) for word in sampled], [math.log(old[word]) for word in sampled]
    )

    assert found[MISMATCH_KL] == pytest.approx(divergence, rel=1e-6)


def test_a_token_that_has_no_log_probability_is_left_out_and_not_taken_for_unchanged() -> None:
    assert figures([-1.0, -9.0], [-2.0, NAN]) == figures([-1.0], [-2.0])
    assert figures([-1.0], [NAN]) == {}


def test_a_hopeless_token_has_a_finite_ratio() -> None:
    found = figures([-0.1, -900.0], [-700.0, -0.1])

    assert all(math.isfinite(value) for value in found.values())
    assert found[RATIO_MAX] == pytest.approx(math.exp(20))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"epsilon": 0.5, "epsilon_high": 1.0},
        {"max_negative_advantage_importance_sampling_weight": 2.0},
    ],
)
def test_a_ratio_counts_as_clipped_where_arts_loss_uses_another_one(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network
    from art.loss import loss_fn

    low, high = clip_range(config)
    for ratio in (0.01, 0.4, 1.0, 1.9, 2.1, 4.9, 5.1, 300.0):
        logprob = -2.0
        row = {
            "tokens": torch.tensor([[1, 2, 3]]),
            "logprobs": torch.tensor([[NAN, logprob - math.log(ratio), -1.0]]),
            "advantages": torch.tensor([[0.0, 1.0, 0.0]]),
            "assistant_mask": torch.tensor([[False, True, False]]),
            "weights": torch.tensor([[0.0, 1.0, 0.0]]),
            "group_ids": torch.tensor([[0, 1, 1]]),
        }
        loss = loss_fn(row, torch.tensor([[logprob, 0.0, 0.0]]), None, None, config)  # type: ignore[arg-type]
        used = float(loss.policy_loss) / -logprob
        assert (used == pytest.approx(ratio, rel=1e-4)) is (low <= ratio <= high), (ratio, used)


def test_a_step_is_refused_by_name_before_its_gradient_step() -> None:
    of_another_policy = torch.full((64,), -0.01)
    ratios = StepRatios(1.0)

    with pytest.raises(TrainingError) as refused:
        ratios.add(torch.full((64,), -10.8), of_another_policy, {})

    message = str(refused.value)
    assert "importance ratios exploded before gradient step 1" in message
    assert "9.79 nats per token" in message
    assert "BABYLON_MAX_MISMATCH_KL=1;" in message
    assert "another policy" in message


def test_a_step_that_goes_too_far_by_itself_names_the_learning_rate() -> None:
    start = torch.full((64,), -2.0)
    ratios = StepRatios(1.0)
    ratios.add(start, start, {})
    ratios.add(start, start, {})  # of the same gradient step
    ratios.taken()

    with pytest.raises(TrainingError, match=r"before gradient step 2: .*BABYLON_LEARNING_RATE"):
        ratios.add(torch.full((64,), -9.0), start, {})


def test_a_few_tokens_of_a_gradient_step_are_judged_with_the_whole_step_alone() -> None:
    far, near = torch.tensor([-0.1, -0.1]), torch.full((600,), -2.0)
    recorded = torch.tensor([-6.5, -6.5])  # 600 nats each
    ratios = StepRatios(3.0)
    ratios.add(far, recorded, {})
    ratios.add(near, near, {})

    ratios.end()

    assert ratios.metrics()[LARGEST_MISMATCH_KL] == ratios.metrics()[MISMATCH_KL] < 3


def test_a_step_of_few_tokens_is_refused_as_a_whole() -> None:
    ratios = StepRatios(1.0)
    ratios.add(torch.full((6,), -10.8), torch.full((6,), -0.01), {})

    with pytest.raises(TrainingError, match=r"exploded over the whole step: .* over 6 tokens"):
        ratios.end()


def test_a_step_without_a_bound_or_log_probabilities_is_not_refused() -> None:
    far, start = torch.full((2,), -20.0), torch.full((2,), -0.1)

    for most, recorded in ((None, start), (1.0, torch.full((2,), NAN))):
        ratios = StepRatios(most)
        ratios.add(far, recorded, {})
        ratios.end()


def test_the_figures_of_a_step_are_over_the_tokens_of_all_its_rows() -> None:
    rows = [([-1.0, -2.0], [-1.5, -2.0]), ([-3.0], [-1.0])]
    ratios = StepRatios(None)
    for current, recorded in rows:
        ratios.add(torch.tensor(current), torch.tensor(recorded), {})

    assert ratios.total.metrics() == pytest.approx(figures([-1.0, -2.0, -3.0], [-1.5, -2.0, -1.0]))


def test_a_figure_has_one_name_whoever_sends_it() -> None:
    sent = {"importance_ratio_mean": 1.1, "reward": 0.5, "loss/entropy": 2.0, "other": 3}

    assert under_one_name(sent) == {
        RATIO_MEAN: 1.1,
        "train/reward": 0.5,
        "loss/entropy": 2.0,
        "other": 3.0,
    }
    names = [name for figure in FIGURES for name in (figure.name, *figure.sent)]
    assert len(names) == len(set(names))
