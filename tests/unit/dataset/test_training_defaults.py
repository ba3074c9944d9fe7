"""What a step is trained with where the settings leave it open, and why."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from babylon_tasks.dataset.training_defaults import TrainingValues, training_values
from babylon_tasks.settings import Settings

SMOLLM = 134_515_008


def values(
    backend: str = "cpu", parameters: int | None = SMOLLM, given: Any = None, **fields: Any
) -> TrainingValues:
    settings = Settings(database_url=SecretStr("postgresql://u@h/d"), **(given or {}))
    return training_values(settings, backend, parameters, **fields)


@pytest.mark.parametrize(
    ("backend", "parameters", "rates"),
    [
        ("cpu", SMOLLM, (4e-4, 4e-5)),
        ("cpu", 14 * 10**9, (1e-5, 5e-6)),
        ("cpu", None, (1e-5, 5e-6)),  # of a size that nobody knows, the careful one
        ("local", SMOLLM, (1e-5, 5e-6)),
        ("serverless", 14 * 10**9, (1e-5, 5e-6)),
    ],
)
def test_the_rate_of_small_models_is_not_that_of_real_ones(
    backend: str, parameters: int | None, rates: tuple[float, float]
) -> None:
    found = values(backend, parameters)

    assert (found.learning_rate, found.final_learning_rate) == rates
    assert backend in found.why["learning_rate"]


def test_what_is_set_applies_whatever_the_backend() -> None:
    given = {
        "learning_rate": 3e-4,
        "final_learning_rate": 2e-4,
        "kl_coefficient": 0.0,
        "scale_rewards": False,
        "max_importance_ratio": 3.0,
        "packed_sequence_length": 512,
    }
    for backend in ("cpu", "local", "serverless"):
        found = values(backend, given=given, longest_row=8192)

        assert {name: getattr(found, name) for name in given} == given
        assert set(found.why.values()) == {"set"}


def test_a_rate_that_is_set_alone_falls_to_a_tenth_and_a_final_one_never_rises() -> None:
    assert values(given={"learning_rate": 2e-6}).final_learning_rate == pytest.approx(2e-7)
    lone = values("serverless", given={"final_learning_rate": 1e-4})
    assert lone.learning_rate == lone.final_learning_rate == 1e-5


@pytest.mark.parametrize(("given", "wanted"), [(None, "0.05"), (0.2, "0.2")])
def test_a_penalty_that_the_interface_lacks_is_none_and_said(
    given: float | None, wanted: str
) -> None:
    found = values("serverless", given={"kl_coefficient": given}, carries=())

    assert found.kl_coefficient == 0.0
    assert found.why["kl_coefficient"].startswith(f"{wanted} (")
    assert "not sent" in found.why["kl_coefficient"]
    assert values(given={"kl_coefficient": given}).kl_coefficient == float(wanted)


def test_rows_are_as_long_as_the_trainer_has_memory_for() -> None:
    assert values(longest_row=8192).packed_sequence_length == 8192
    assert values().packed_sequence_length == 2048


def test_each_value_says_where_it_comes_from() -> None:
    assert set(values().why) == set(TrainingValues.__struct_fields__) - {"why"}
