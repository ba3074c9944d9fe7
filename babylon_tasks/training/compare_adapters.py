"""How far two adapters are apart."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from babylon_tasks.errors import TrainingError


class AdapterDistance(Struct, frozen=True):
    """The norm of the difference over the first one's, and the largest element of it."""

    relative_norm: float
    largest: float


def compare_adapters(one: Path, other: Path) -> AdapterDistance:
    """Compare two files of weights; raises TrainingError where they have other shapes."""
    import torch
    from safetensors.torch import load_file

    ours, theirs = load_file(str(one)), load_file(str(other))
    if {name: part.shape for name, part in ours.items()} != {
        name: part.shape for name, part in theirs.items()
    }:
        raise TrainingError(f"{one} and {other} are adapters of different shapes")
    differences = [(theirs[name].double() - part.double()).flatten() for name, part in ours.items()]
    whole = torch.cat([part.double().flatten() for part in ours.values()])
    difference = torch.cat(differences)
    return AdapterDistance(float(difference.norm() / whole.norm()), float(difference.abs().max()))
