"""How far two adapters are apart, in figures that people can judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.errors import TrainingError
from babylon_tasks.training.compare_adapters import compare_adapters


def saved(path: Path, **parts: list[float]) -> Path:
    import torch
    from safetensors.torch import save_file

    save_file({name: torch.tensor(values) for name, values in parts.items()}, str(path))
    return path


def test_the_norm_is_of_the_difference_over_the_first_ones(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", a=[3.0, 0.0], b=[4.0])
    other = saved(tmp_path / "other", a=[3.0, 0.3], b=[3.6])

    found = compare_adapters(one, other)

    assert found.relative_norm == pytest.approx(0.1)
    assert found.largest == pytest.approx(0.4)
    assert compare_adapters(one, one).relative_norm == 0


@pytest.mark.parametrize("parts", [{"a": [1.0]}, {"a": [1.0, 2.0], "c": [1.0]}])
def test_adapters_of_other_shapes_are_not_compared(
    tmp_path: Path, parts: dict[str, list[float]]
) -> None:
    one = saved(tmp_path / "one", a=[1.0, 2.0], b=[1.0])

    with pytest.raises(TrainingError, match="different shapes"):
        compare_adapters(one, saved(tmp_path / "other", **parts))
