"""What a step is trained with: each setting's value or the default of its backend and model. PURE.

Defaults are chosen here and nowhere else; docs/decisions.md has the reasons and the measurements.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from babylon_tasks.learning_settings import HIGHEST_DEFAULT_RATE, LearningSettings

# The rate of small models was chosen on one of 135 million parameters (docs/decisions.md).
SMALL = 500_000_000
_SMALL_RATES = (HIGHEST_DEFAULT_RATE, 4e-5)
_ART_RATES = (1e-5, 5e-6)  # of ART's examples, and of `train` in 0.5.18 and 0.5.23
_SUPERVISED_SMALL = 2e-3  # measured on the same small model (docs/decisions.md)
_SUPERVISED_ART = 5e-5  # of its TrainSFTConfig
_KL = 0.05
_ROW = 2048  # tokens of a packed row where the trainer knows no better
_FINAL_SHARE = 10  # a rate that is set without a final one falls to a tenth, as the small one does
MAX_IMPORTANCE_RATIO = 2.0
SCALE_REWARDS = True
# What a backend may not carry; the others reach every backend.
CARRIED_BY_SOME = ("kl_coefficient",)


class TrainingValues(Struct, frozen=True):
    """The values that steps are trained with; ``why`` says where each comes from, for people."""

    learning_rate: float
    final_learning_rate: float
    kl_coefficient: float
    packed_sequence_length: int
    scale_rewards: bool
    max_importance_ratio: float
    why: dict[str, str]


def training_values(
    settings: LearningSettings,
    backend: str,
    parameters: int | None,
    *,
    longest_row: int | None = None,
    carries: Collection[str] = CARRIED_BY_SOME,
) -> TrainingValues:
    """Choose the value of each setting that depends on backend and model.

    ``parameters`` is the base model's size, None where it is not known: then it counts as large.
    ``longest_row`` is what the trainer has memory for, ``carries`` which of ``CARRIED_BY_SOME`` its
    interface has.
    """
    why: dict[str, str] = {}
    small = backend == "cpu" and parameters is not None and parameters < SMALL
    kind = _kind(backend, parameters)
    first, final = _SMALL_RATES if small else _ART_RATES
    source = f"for {kind}" if small else f"ART's, for {kind}"
    if settings.learning_rate is not None:
        first, why["learning_rate"] = settings.learning_rate, _SET
        final, source = first / _FINAL_SHARE, "a tenth of the first"
    else:
        why["learning_rate"] = source
    if settings.final_learning_rate is not None:
        final, why["final_learning_rate"] = min(settings.final_learning_rate, first), _SET
    else:
        why["final_learning_rate"] = source
    kl = _KL if settings.kl_coefficient is None else settings.kl_coefficient
    why["kl_coefficient"] = "for all models" if settings.kl_coefficient is None else _SET
    if "kl_coefficient" not in carries and kl:
        why["kl_coefficient"] = (
            f"{kl:g} ({why['kl_coefficient']}) is not sent: the installed ART has no such option "
            f"for backend {backend}"
        )
        kl = 0.0
    length = settings.packed_sequence_length
    if length is not None:
        why["packed_sequence_length"] = _SET
    elif longest_row is not None:
        length, why["packed_sequence_length"] = longest_row, "what memory suffices for"
    else:
        length, why["packed_sequence_length"] = _ROW, f"for {kind}"
    scale, cap = settings.scale_rewards, settings.max_importance_ratio
    why["scale_rewards"] = "for all models" if scale is None else _SET
    why["max_importance_ratio"] = "for all models" if cap is None else _SET
    return TrainingValues(
        learning_rate=first,
        final_learning_rate=final,
        kl_coefficient=kl,
        packed_sequence_length=length,
        scale_rewards=SCALE_REWARDS if scale is None else scale,
        max_importance_ratio=MAX_IMPORTANCE_RATIO if cap is None else cap,
        why=why,
    )


def supervised_rate(settings: LearningSettings, backend: str, parameters: int | None) -> float:
    """Choose the learning rate of supervised steps; ``parameters`` as for the others."""
    if settings.supervised_learning_rate is not None:
        return settings.supervised_learning_rate
    small = backend == "cpu" and parameters is not None and parameters < SMALL
    return _SUPERVISED_SMALL if small else _SUPERVISED_ART


_SET = "set"


def _kind(backend: str, parameters: int | None) -> str:
    if parameters is None:
        return f"backend {backend} and a model of unknown size"
    return f"backend {backend} and a model of {parameters / 1e6:,.0f} million parameters"
